"""A transfer brings bytes to a path or URL, or from there: the functions of ``flyte.storage``."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from flyteray import _place
from flyteray.io.dir import Dir
from flyteray.io.file import File
from flyteray.io.location import unique_url


async def put(from_path: str | Path, to_path: str | None = None, recursive: bool = False, **_: object) -> str:
    """Upload a file, or with ``recursive`` a folder; hints for other storages (``chunk_size`` and such) mean nothing.

    Args:
        from_path: A local path.
        to_path: Where to. By default a new path in the data of the run, or in the storage.
        recursive: Whether it is a folder.

    Returns:
        Where it is.

    Raises:
        ValueError: There is no such file or folder.
    """
    target = to_path or unique_url(Path(from_path).name)
    if recursive:
        return (await Dir[Any].from_local(from_path, remote_destination=target)).path
    return (await File[Any].from_local(from_path, remote_destination=target)).path


async def get(from_path: str, to_path: str | Path | None = None, recursive: bool = False, **_: object) -> str:
    """Download a file, or with ``recursive`` a folder.

    Args:
        from_path: Its path or URL.
        to_path: Where to; by default a local one stays where it is, and others go to a new temporary folder.
        recursive: Whether it is a folder.

    Returns:
        The local path.

    Raises:
        FileNotFoundError: There is nothing.
    """
    found: Dir[Any] | File[Any] = Dir(path=from_path) if recursive else File(path=from_path)
    return await found.download(to_path)


async def open(path: str, mode: str = "rb", **options: Any) -> AbstractAsyncContextManager[Any]:
    """Open a file: ``async with await flyteray.storage.open(path) as file``; see :meth:`flyteray.io.File.open`."""
    return File(path=path).open(mode, **options)


async def exists(path: str, **_: object) -> bool:
    """Whether a file or folder is there."""
    return await asyncio.to_thread(exists_sync, path)


def exists_sync(path: str, **_: object) -> bool:
    """Whether a file or folder is there."""
    return File(path=path).exists_sync() or Dir(path=path).exists_sync()


async def put_stream(
    data_iterable: AsyncIterable[bytes] | Iterable[bytes] | bytes,
    *,
    name: str | None = None,
    to_path: str | None = None,
    **_: object,
) -> str:
    """Write bytes to a file as they come; it appears when they have ended, as a whole.

    Args:
        data_iterable: Pieces, or all at once.
        name: The last part of a new path in the data of the run, or in the storage; a random one by default.
        to_path: Where to, in place of that.

    Returns:
        Where it is.

    Raises:
        ValueError: Both a name and a path are given.
    """
    if name and to_path:
        raise ValueError(f"put_stream takes a name or a to_path, got {name!r} and {to_path!r}.")
    target = to_path or unique_url(name or uuid.uuid4().hex)
    async with File(path=target).open("wb") as file:
        if isinstance(data_iterable, bytes | bytearray | memoryview):
            await file.write(data_iterable)
        elif isinstance(data_iterable, AsyncIterable):
            async for piece in data_iterable:
                await file.write(piece)
        else:
            for piece in data_iterable:
                await file.write(piece)
    return target


async def get_stream(path: str, chunk_size: int = 10 * 2**20, **_: object) -> AsyncIterator[bytes]:
    """The bytes of a file, in pieces of ``chunk_size`` bytes; FileNotFoundError: there is none."""
    async with File(path=path).open("rb") as file:
        while piece := await file.read(chunk_size):
            yield piece


def join(*paths: str) -> str:
    """One path or URL of several parts, as ``os.path.join`` makes it: a part that begins with ``/`` begins anew."""
    return os.path.join(*paths)


def is_remote(path: str | Path) -> bool:
    """Whether it is a URL of another place than this machine's file system."""
    scheme, _ = _place.parse(str(path))
    return scheme not in ("", "file")
