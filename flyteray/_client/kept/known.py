"""Handles of what has a name and is recorded."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """What is known of something that has a name."""

    @property
    def name(self) -> str:
        """The name."""


Info = TypeVar("Info", bound=Named)


class Known(Generic[Info]):
    """A handle that keeps what it was told last."""

    def __init__(self, info: Info) -> None:
        self._info = info

    @property
    def info(self) -> Info:
        """What was known when the handle last asked; ``sync`` asks anew."""
        return self._info

    @property
    def name(self) -> str:
        """The name that it has on the cluster."""
        return self._info.name
