"""A folder of files that tasks and apps pass on by its path."""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from flyteray.io.file import File
from flyteray.io.location import Location, T, keeps_local_paths, temporary_path, unique_url
from flyteray.storage import open_storage

_NO_FOLDER = "::flyte-empty-dir::"  # no path and no URL


class Dir(Location[T]):
    """A folder in storage or on disk; passing one on copies no bytes. Give keywords: ``Dir(path="s3://…")``.

    Blocking methods end in ``_sync``; the others are awaited.
    """

    @classmethod
    def from_existing_remote(cls, remote_path: str, dir_cache_key: str | None = None) -> Dir[T]:
        """A folder that exists already; nothing is read.

        Args:
            remote_path: Its path or URL.
            dir_cache_key: Identifies the content, for caching.
        """
        return cls(path=remote_path, hash=dir_cache_key)

    @classmethod
    def empty(cls) -> Dir[T]:
        """A folder that stands for none, of which :attr:`is_empty` is true."""
        return EmptyDir()

    @property
    def is_empty(self) -> bool:
        """Whether it stands for no folder at all."""
        return self.path == _NO_FOLDER

    @classmethod
    def new_remote(cls, dir_name: str | None = None, hash: str | None = None) -> Dir[T]:
        """A folder for files to be written, at a path that nothing else uses; ``hash`` identifies its content."""
        return cls(path=unique_url(dir_name), hash=hash)

    @classmethod
    def from_local_sync(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> Dir[T]:
        """Copy a local folder with all that is in it into storage, where every node can read it.

        Args:
            local_path: The folder.
            remote_destination: What the copy is to be; a new path in storage by default.
            dir_cache_key: Identifies the content, for caching.
            batch_size, chunk_size, max_concurrency: Not needed: uploads are cut as the storage likes them.

        Returns:
            The copy. In local mode and without a destination the folder itself: nothing is copied.

        Raises:
            ValueError: there is no such folder.
        """
        source = Path(local_path).expanduser()
        if not source.is_dir():
            raise ValueError(f"Directory not found: {local_path}. Give the path of an existing folder.")
        if remote_destination is None and keeps_local_paths():
            # Apps in local mode have folders of their own.
            return cls(path=str(source.absolute()), hash=dir_cache_key)
        storage = open_storage(remote_destination or unique_url(source.absolute().name))
        storage.make_folder()  # also when there is nothing to copy
        for key in open_storage(source).list():
            storage.put_file(key, source / key)
        return cls(path=storage.url, name=source.absolute().name, hash=dir_cache_key)

    @classmethod
    async def from_local(
        cls,
        local_path: str | Path,
        remote_destination: str | None = None,
        dir_cache_key: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        max_concurrency: int | None = None,
    ) -> Dir[T]:
        """Like :meth:`from_local_sync`."""
        return await asyncio.to_thread(cls.from_local_sync, local_path, remote_destination, dir_cache_key)

    def walk_sync(
        self, recursive: bool = True, file_pattern: str = "*", max_depth: int | None = None
    ) -> Iterator[File[T]]:
        """The files in the folder, sorted by path.

        Args:
            recursive: Also those in inner folders.
            file_pattern: Which, as a shell pattern for the file's name, such as ``"*.csv"``.
            max_depth: How many folders deep; 1: only this one. None: all.
        """
        deepest = 1 if not recursive else max_depth
        storage = open_storage(self.path)
        for key in storage.list():
            depth, name = key.count("/") + 1, key.rpartition("/")[2]
            if (deepest is None or depth <= deepest) and fnmatch.fnmatchcase(name, file_pattern):
                yield File(path=storage.join(key))

    async def walk(self, recursive: bool = True, max_depth: int | None = None) -> AsyncIterator[File[T]]:
        """Like :meth:`walk_sync`, for ``async for``."""
        for file in await asyncio.to_thread(lambda: list(self.walk_sync(recursive, max_depth=max_depth))):
            yield file

    def list_files_sync(self) -> list[File[T]]:
        """The files in the folder itself, sorted by name; not those in inner folders."""
        return list(self.walk_sync(recursive=False))

    async def list_files(self) -> list[File[T]]:
        """Like :meth:`list_files_sync`."""
        return await asyncio.to_thread(self.list_files_sync)

    def get_file_sync(self, file_name: str) -> File[T] | None:
        """A file of the folder by its path in it; None if there is none."""
        storage = open_storage(self.path)
        return File(path=storage.join(file_name)) if storage.exists(file_name) else None

    async def get_file(self, file_name: str) -> File[T] | None:
        """Like :meth:`get_file_sync`."""
        return await asyncio.to_thread(self.get_file_sync, file_name)

    def download_sync(self, local_path: str | Path | None = None) -> str:
        """Bring the folder to this machine.

        Args:
            local_path: The folder that gets the files. By default a local folder stays where it is, and
                others go to a new temporary folder.

        Returns:
            The local path.

        Raises:
            FileNotFoundError: there is no such folder.
        """
        storage = open_storage(self.path)
        if not self.exists_sync():
            raise FileNotFoundError(f"There is no folder {self.path}. Was it deleted or never written?")
        if local_path is None and storage.is_local:
            return storage.url
        target = temporary_path(self.name) if local_path is None else Path(local_path).expanduser()
        if storage.is_local and target.absolute() == Path(storage.url):
            return str(target)
        target.mkdir(parents=True, exist_ok=True)
        for key in storage.list():
            storage.get_file(key, target / key)
        return str(target)

    async def download(self, local_path: str | Path | None = None) -> str:
        """Like :meth:`download_sync`."""
        return await asyncio.to_thread(self.download_sync, local_path)

    def exists_sync(self) -> bool:
        """Whether the folder is there; in an object store: whether it has files."""
        storage = open_storage(self.path)
        if storage.is_local:
            return Path(storage.url).is_dir()
        return next(storage.list(), None) is not None

    async def exists(self) -> bool:
        """Like :meth:`exists_sync`."""
        return await asyncio.to_thread(self.exists_sync)


class EmptyDir(Dir[Any]):
    """A task's output where it has made no folder: a :class:`Dir` that :attr:`~Dir.is_empty`."""

    def __init__(self, **_: object) -> None:
        super().__init__(path=_NO_FOLDER)
