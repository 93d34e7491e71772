"""A file that tasks and apps pass on by its path."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from flyteray.io.location import Location, T, keeps_local_paths, temporary_path, unique_url, upload_root
from flyteray.io.stream import AsyncStream
from flyteray.storage import Storage

_HINTS = frozenset({"block_size", "cache_type", "cache_options"})  # for Flyte's file systems; ours need none


class File(Location[T]):
    """A file in storage or on disk; passing one on copies no bytes. Give keywords: ``File(path="s3://…")``.

    Blocking methods end in ``_sync``; the others are awaited.
    """

    @classmethod
    def from_existing_remote(cls, path: str, file_cache_key: str | None = None) -> File[T]:
        """A file that exists already; nothing is read.

        Args:
            path: Its path or URL.
            file_cache_key: Identifies the content, for caching.
        """
        return cls(path=path, hash=file_cache_key)

    @classmethod
    def new_remote(cls, file_name: str | None = None) -> File[T]:
        """A file to be written with :meth:`open`, at a path that nothing else uses."""
        return cls(path=unique_url(file_name))

    @classmethod
    def named_remote(cls, name: str) -> File[T]:
        """A file to be written with :meth:`open`; in one action, the same name is the same file."""
        return cls(path=upload_root().join(name))

    @classmethod
    def from_local_sync(cls, local_path: str | Path, remote_destination: str | None = None) -> File[T]:
        """Copy a local file into storage, where every node can read it.

        Args:
            local_path: The file.
            remote_destination: Where to copy it to; a new path in storage by default. Ending in ``/``: into
                that folder.

        Returns:
            The copy. In local mode and without a destination the file itself: nothing is copied.

        Raises:
            ValueError: there is no such file.
        """
        source = Path(local_path).expanduser()
        if not source.is_file():
            raise ValueError(f"File not found: {local_path}. Give the path of an existing file.")
        if remote_destination is None and keeps_local_paths():
            return cls(path=str(source.absolute()))  # apps in local mode have folders of their own
        target = remote_destination or unique_url(source.name)
        if target.endswith("/"):
            target += source.name
        storage, key = Storage.locate(target)
        storage.put_file(key, source)
        return cls(path=storage.join(key), name=source.name)

    @classmethod
    async def from_local(cls, local_path: str | Path, remote_destination: str | None = None) -> File[T]:
        """Like :meth:`from_local_sync`."""
        return await asyncio.to_thread(cls.from_local_sync, local_path, remote_destination)

    @contextmanager
    def open_sync(self, mode: str = "rb", **hints: Any) -> Iterator[IO[Any]]:
        """Open the file for reading or writing, bytes or text.

        Args:
            mode: ``"rb"``, ``"wb"``, ``"r"`` or ``"w"``. What is written appears when the context ends
                without an error, as a whole.
            hints: ``block_size``, ``cache_type`` and ``cache_options`` of Flyte are accepted and not needed.

        Raises:
            FileNotFoundError: nothing to read there.
            ValueError: another mode.
        """
        if unknown := hints.keys() - _HINTS:
            raise TypeError(
                f"File.open takes no {', '.join(sorted(unknown))}: read the bytes and convert them."
            )
        if mode not in ("rb", "wb", "r", "w", "rt", "wt"):
            raise ValueError(f"A file can't be opened with mode {mode!r}: use 'rb', 'wb', 'r' or 'w'.")
        storage, key = Storage.locate(self.path)
        with storage.writer(key) if "w" in mode else storage.reader(key) as file:
            if "b" in mode:
                yield file
            else:
                text = io.TextIOWrapper(cast("Any", file), encoding="utf-8")
                yield text
                text.flush()
                text.detach()  # or its end would close the file, which the writer still needs

    @asynccontextmanager
    async def open(self, mode: str = "rb", **hints: Any) -> AsyncIterator[AsyncStream]:
        """Like :meth:`open_sync`, for ``async with``; reading and writing is awaited."""
        opened = self.open_sync(mode, **hints)
        async with AsyncExitStack() as stack:
            file = await asyncio.to_thread(opened.__enter__)

            async def leave(*error: Any) -> bool | None:
                return await asyncio.to_thread(opened.__exit__, *error)

            stack.push_async_exit(leave)
            yield AsyncStream(file)

    def download_sync(self, local_path: str | Path | None = None) -> str:
        """Bring the file to this machine.

        Args:
            local_path: Where to; into it if it is a folder or ends in ``/``. By default a local file stays
                where it is, and others go to a new temporary folder.

        Returns:
            The local path.

        Raises:
            FileNotFoundError: there is no such file.
        """
        storage, key = Storage.locate(self.path)
        if storage.is_local:
            source = storage.local_path(key, Path())
            if local_path is None:
                return self.path if Path(self.path).is_file() else str(source)
        target = self._target(local_path)
        if not (storage.is_local and target.exists() and target.samefile(source)):
            storage.get_file(key, target)
        return str(target)

    async def download(self, local_path: str | Path | None = None) -> str:
        """Like :meth:`download_sync`."""
        return await asyncio.to_thread(self.download_sync, local_path)

    def exists_sync(self) -> bool:
        """Whether the file is there."""
        storage, key = Storage.locate(self.path)
        return storage.exists(key)

    async def exists(self) -> bool:
        """Like :meth:`exists_sync`."""
        return await asyncio.to_thread(self.exists_sync)

    def _target(self, local_path: str | Path | None) -> Path:
        if local_path is None:
            return temporary_path(self.name)
        target = Path(local_path).expanduser()
        return target / self.name if target.is_dir() or os.fspath(local_path).endswith("/") else target
