"""A checkpoint is one file in storage: what an attempt has saved, replaced as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from flyteray._declare.checkpoint import BaseCheckpoint
from flyteray.storage import locate_file

_PAYLOAD = "payload"
_GZIP = b"\x1f\x8b"  # how a folder begins; a file or bytes are not compressed: they mostly are already
_SAFE: dict[str, Any] = (
    {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
)  # Pythons of 2023 lack it


class Checkpoint(BaseCheckpoint):
    """A checkpoint at a URL, or in a file.

    Attributes:
        remote_destination: Where it is saved.
        remote_source: Where it is loaded from; by default there.
    """

    def __init__(self, checkpoint_dest: str, checkpoint_src: str | None = None) -> None:
        self.remote_destination = checkpoint_dest
        self.remote_source = checkpoint_src or checkpoint_dest

    @functools.cached_property
    def path(self) -> Path:
        """The folder of this machine that is loaded into."""
        return Path(tempfile.mkdtemp(prefix="flyteray-checkpoint-"))

    def save_sync(self, data: bytes | str | Path) -> None:
        """Save bytes, a file or a folder; see :meth:`BaseCheckpoint.save_sync`."""
        if not isinstance(data, (bytes, str, Path)):
            raise TypeError(f"A checkpoint is saved from bytes or a path, got {data!r}.")
        if not isinstance(data, bytes) and not Path(data).exists():
            raise FileNotFoundError(f"There is no file or folder {str(data)!r} to save as a checkpoint.")
        storage, key = locate_file(self.remote_destination)
        with storage.writer(key) as file:
            _pack(data, file)

    def load_sync(self) -> Path | None:
        """Load what was saved last; see :meth:`BaseCheckpoint.load_sync`."""
        storage, key = locate_file(self.remote_source)
        with contextlib.ExitStack() as stack:
            try:
                file = stack.enter_context(storage.reader(key))
            except FileNotFoundError:
                return None
            for left in self.path.iterdir():  # of an earlier load
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            is_folder = file.read(len(_GZIP)) == _GZIP
            file.seek(0)
            stack.enter_context(tarfile.open(fileobj=file)).extractall(self.path, **_SAFE)
        return self.path if is_folder else self.path / _PAYLOAD

    def prev_exists(self) -> bool:
        """Whether something was saved."""
        storage, key = locate_file(self.remote_source)
        return storage.exists(key)

    async def save(self, data: bytes | str | Path) -> None:
        """As :meth:`save_sync`, beside the event loop."""
        await asyncio.to_thread(self.save_sync, data)

    async def load(self) -> Path | None:
        """As :meth:`load_sync`, beside the event loop."""
        return await asyncio.to_thread(self.load_sync)


def latest_checkpoint(
    root: str | Path | None, glob_pattern: str = "**/last.ckpt", *, key: Callable[[Path], Any] | None = None
) -> Path | None:
    """The newest file below a folder, such as one that :meth:`Checkpoint.load` gave.

    Args:
        root: The folder; where it is a file, that file. None, as of a checkpoint that nobody saved, has none.
        glob_pattern: Which files count.
        key: What makes the newest: the file for which it gives the largest value. Default: the time of its last change.

    Returns:
        The file; None where there is none.
    """
    if root is None:
        return None
    folder = Path(root)
    if folder.is_file():
        return folder
    found = [path for path in folder.glob(glob_pattern) if path.is_file()]
    return max(found, key=key or (lambda path: path.stat().st_mtime_ns), default=None)


def _pack(data: bytes | str | Path, file: IO[bytes]) -> None:
    is_folder = not isinstance(data, bytes) and Path(data).is_dir()
    with tarfile.open(fileobj=file, mode="w:gz" if is_folder else "w") as archive:
        if isinstance(data, bytes):
            member = tarfile.TarInfo(_PAYLOAD)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        else:
            archive.add(data, arcname="" if is_folder else _PAYLOAD)
