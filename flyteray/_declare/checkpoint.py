"""A checkpoint is what a task saves of its work, for the attempt after it to go on from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class BaseCheckpoint(ABC):
    """The work that attempts of one action save and load: ``flyteray.ctx().checkpoint`` in a task.

    Attributes:
        remote_source: Where it is loaded from.
        remote_destination: Where it is saved.
    """

    remote_source: str
    remote_destination: str

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder of this machine that is loaded into; it is made when it is asked for."""

    @abstractmethod
    def save_sync(self, data: bytes | str | Path) -> None:
        """Save something in place of what was saved before; the async form is :meth:`save`.

        Args:
            data: Bytes, or the path of a file or a folder.

        Raises:
            FileNotFoundError: There is no such file or folder.
            TypeError: A value of another type.
            StorageError: Storage can't be reached, refuses, or is full.
        """

    @abstractmethod
    def load_sync(self) -> Path | None:
        """Load what was saved last, by this attempt or an earlier one; the async form is :meth:`load`.

        Returns:
            A file, ``path / "payload"``, where bytes or a file were saved; ``path`` with all that was in a folder; None
            where nothing was.
        """

    @abstractmethod
    def prev_exists(self) -> bool:
        """Whether something was saved."""

    @abstractmethod
    async def save(self, data: bytes | str | Path) -> None:
        """As :meth:`save_sync`, beside the event loop."""

    @abstractmethod
    async def load(self) -> Path | None:
        """As :meth:`load_sync`, beside the event loop."""
