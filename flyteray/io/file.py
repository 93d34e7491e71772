"""A file that tasks and apps pass on by its path."""

from __future__ import annotations

import asyncio
import bz2
import gzip
import io
import lzma
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from typing import IO, Any, cast

from flyteray.io.hashing import HashMethod, hashed
from flyteray.io.location import Location, T, keeps_local_paths, temporary_path, unique_url, upload_root
from flyteray.io.stream import AsyncStream
from flyteray.storage import locate_file
from flyteray.storage.local import LocalStorage

_OF_TEXT = frozenset({"encoding", "errors", "newline"})
_PACKED: dict[str | None, Callable[[Any, Any], AbstractContextManager[Any]]] = {
    None: lambda file, _: nullcontext(file),
    "gzip": lambda file, mode: gzip.GzipFile(fileobj=file, mode=mode),
    "bz2": lambda file, mode: bz2.BZ2File(file, mode),
    "xz": lambda file, mode: lzma.LZMAFile(file, mode),  # noqa: SIM115 # a context manager as well
}


class File(Location[T]):
    """A file in storage or on disk; passing one on copies no bytes. Give keywords: ``File(path="s3://…")``.

    Blocking methods end in ``_sync``; the others are awaited.
    """

    @classmethod
    def from_existing_remote(cls, remote_path: str, file_cache_key: str | None = None) -> File[T]:
        """A file that exists already; nothing is read.

        Args:
            remote_path: Its path or URL.
            file_cache_key: Identifies the content, for caching.
        """
        return cls(path=remote_path, hash=file_cache_key)

    @classmethod
    def new_remote(cls, file_name: str | None = None, hash_method: HashMethod | str | None = None) -> File[T]:
        """A file to be written with :meth:`open`, at a path that nothing else uses.

        Args:
            file_name: The last part of the path.
            hash_method: A text that identifies the content, for caching. What works it out while the file is written is
                not asked here.
        """
        return cls(path=unique_url(file_name), hash=hash_method if isinstance(hash_method, str) else None)

    @classmethod
    def named_remote(cls, name: str) -> File[T]:
        """A file to be written with :meth:`open`; in one action, the same name is the same file."""
        return cls(path=upload_root().join(name))

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> File[T]:
        """Copy a local file into storage, where every node can read it.

        Args:
            local_path: The file.
            remote_destination: Where to copy it to; a new path in storage by default. Ending in ``/``: into
                that folder.
            hash_method: A text that identifies the content, for caching, or what works one out of its bytes.
            chunk_size, max_concurrency: Not needed: uploads are cut as the storage likes them.

        Returns:
            The copy. In local mode and without a destination the file itself: nothing is copied.

        Raises:
            ValueError: there is no such file.
        """
        source = Path(local_path).expanduser()
        if not source.is_file():
            raise ValueError(f"File not found: {local_path}. Give the path of an existing file.")
        content = hashed(source, hash_method)
        if remote_destination is None and keeps_local_paths():
            # Apps in local mode have folders of their own.
            return cls(path=str(source.absolute()), hash=content)
        target = remote_destination or unique_url(source.name)
        if target.endswith("/"):
            target += source.name
        storage, key = locate_file(target)
        storage.put_file(key, source)
        return cls(path=storage.join(key), name=source.name, hash=content)

    @classmethod
    async def from_local(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> File[T]:
        """Like :meth:`from_local_sync`."""
        return await asyncio.to_thread(cls.from_local_sync, local_path, remote_destination, hash_method)

    @contextmanager
    def open_sync(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **text: Any,
    ) -> Iterator[IO[Any]]:
        """Open the file for reading or writing, bytes or text.

        Args:
            mode: ``"rb"``, ``"wb"``, ``"r"`` or ``"w"``. What is written appears when the context ends
                without an error, as a whole.
            block_size, cache_type, cache_options: Hints for Flyte's file systems; ours need none.
            compression: ``"gzip"``, ``"bz2"`` or ``"xz"``: what is read is unpacked, what is written is packed.
            text: ``encoding`` (UTF-8), ``errors`` and ``newline``, as Python's ``open`` has them.

        Raises:
            FileNotFoundError: nothing to read there.
            ValueError: another mode or compression.
        """
        if unknown := text.keys() - _OF_TEXT:
            raise TypeError(
                f"File.open takes no {', '.join(sorted(unknown))}: read the bytes and convert them."
            )
        if compression not in _PACKED:
            choices = ", ".join(repr(each) for each in _PACKED if each)
            raise ValueError(f"A file can't be opened with compression {compression!r}: there are {choices}.")
        if mode not in ("rb", "wb", "r", "w", "rt", "wt"):
            raise ValueError(f"A file can't be opened with mode {mode!r}: use 'rb', 'wb', 'r' or 'w'.")
        storage, key = locate_file(self.path)
        opened = storage.writer(key) if "w" in mode else storage.reader(key)
        with opened as plain, _PACKED[compression](plain, mode[0] + "b") as file:
            if "b" in mode:
                yield file
            else:
                wrapped = io.TextIOWrapper(cast("Any", file), **{"encoding": "utf-8", **text})
                yield wrapped
                wrapped.flush()
                wrapped.detach()  # or its end would close the file, which the writer still needs

    @asynccontextmanager
    async def open(
        self,
        mode: str = "rb",
        block_size: int | None = None,
        cache_type: str = "readahead",
        cache_options: dict[str, Any] | None = None,
        compression: str | None = None,
        **text: Any,
    ) -> AsyncIterator[AsyncStream]:
        """Like :meth:`open_sync`, for ``async with``; reading and writing is awaited."""
        opened = self.open_sync(mode, block_size, cache_type, cache_options, compression, **text)
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
        storage, key = locate_file(self.path)
        source = storage.local_path(key) if isinstance(storage, LocalStorage) else None
        if source is not None and local_path is None:
            return self.path if Path(self.path).is_file() else str(source)
        target = self._target(local_path)
        if not (source is not None and target.exists() and target.samefile(source)):
            storage.get_file(key, target)
        return str(target)

    async def download(self, local_path: str | Path | None = None) -> str:
        """Like :meth:`download_sync`."""
        return await asyncio.to_thread(self.download_sync, local_path)

    def exists_sync(self) -> bool:
        """Whether the file is there."""
        storage, key = locate_file(self.path)
        return storage.exists(key)

    async def exists(self) -> bool:
        """Like :meth:`exists_sync`."""
        return await asyncio.to_thread(self.exists_sync)

    def _target(self, local_path: str | Path | None) -> Path:
        if local_path is None:
            return temporary_path(self.name)
        target = Path(local_path).expanduser()
        return target / self.name if target.is_dir() or os.fspath(local_path).endswith("/") else target
