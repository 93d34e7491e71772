"""A Python value is one file, laid out so that reading it is mapping it.

    header    magic, version, then the size of the pickle, the count of buffers, the size of the file
    pickle    protocol 5, without the large buffers
    table     offset and size of each buffer
    buffers   each on a page boundary (small ones: on a cache line)

The header is written last, so an unfinished file has none.
"""

from __future__ import annotations

import functools
import io
import mmap
import pickle
import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

from flyteray._declare.loading import loads
from flyteray.errors import ResultSerializationError, RuntimeSystemError
from flyteray.storage import copy_on_write
from flyteray.storage.copies import Copies
from flyteray.storage.pickler import Pickler, plainly, unpicklable_part
from flyteray.storage.storage import Storage

_MAGIC = b"flyteray"
_VERSION = 1
_HEADER = struct.Struct("<8sIxxxxQQQ24x")
_PLACE = struct.Struct("<QQ")
_PAGE = 4096
_CACHE_LINE = 64
_SMALL = 64 * 1024  # bytes that are written at once


def write_value(
    storage: Storage,
    key: str,
    value: object,
    name: str = "value",
    put: Callable[[bytes | memoryview], object] | None = None,
) -> int:
    """Write a value under a key; the large buffers in it go to disk without a copy in memory.

    Args:
        storage: Where.
        key: Under which key; replaced as a whole.
        value: Anything that cloudpickle takes.
        name: What to call the value in an error.
        put: What keeps a small one; by default it is put under its key as large ones are.

    Returns:
        The size in bytes.

    Raises:
        ResultSerializationError: the value or a part of it can't be pickled; the message says which.
    """
    put = put or functools.partial(storage.put, key)
    plain = plainly(value)
    if plain is not None and len(plain) <= _SMALL:
        put(_header(len(plain), 0, _HEADER.size + len(plain)) + plain)
        return _HEADER.size + len(plain)
    with _Spool(functools.partial(storage.writer, key)) as spool:
        spool.write(bytes(_HEADER.size))
        buffers = _pickle(spool, value, name)
        if sum(buffer.nbytes for buffer in buffers) > _SMALL:
            spool.spill()
        size = _finish(spool.file, buffers)
        if spool.in_memory is not None:
            put(spool.in_memory.getbuffer())
        return size


class _Spool:
    """A file that is in memory while it is small: for storage one whole is much quicker to write."""

    def __init__(self, writer: Callable[[], AbstractContextManager[IO[bytes]]]) -> None:
        self.in_memory: io.BytesIO | None = io.BytesIO()
        self.file: IO[bytes] = self.in_memory
        self._writer = writer
        self._opened: AbstractContextManager[IO[bytes]] | None = None

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *raised: Any) -> bool | None:
        return None if self._opened is None else self._opened.__exit__(*raised)

    def write(self, data: Any) -> int:
        """Write, as files do."""
        if self.in_memory is not None and self.in_memory.tell() + memoryview(data).nbytes > _SMALL:
            self.spill()
        return self.file.write(data)

    def spill(self) -> None:
        """Go on in storage."""
        if self.in_memory is not None:
            opened = self._writer()
            self.file = opened.__enter__()
            self._opened = opened
            self.file.write(self.in_memory.getbuffer())
            self.in_memory = None


def write_pickled(storage: Storage, key: str, pickled: bytes, buffers: Sequence[pickle.PickleBuffer]) -> int:
    """Like :func:`write_value`, of what is pickled already: protocol 5, with the large buffers beside it."""
    with storage.writer(key) as file:
        file.write(bytes(_HEADER.size))
        file.write(pickled)
        return _finish(file, [buffer.raw() for buffer in buffers])


def read_value(storage: Storage, key: str, cache_dir: Path | None = None) -> Any:
    """Read a value that :func:`write_value` wrote.

    The file is mapped into memory, not read: arrays (numpy, arrow, pandas) are read-only views of it, and all
    processes of a node that read it share the same physical memory. ``bytes`` and ``str`` are copied.

    Args:
        storage: Where.
        key: Under which key.
        cache_dir: Where a copy of an object is kept, as :class:`~flyteray.storage.copies.Copies` says; ``cache`` in the
            flyteray home by default.

    Raises:
        FileNotFoundError: there is no such key.
        RuntimeSystemError: the file is torn or is not a value.
        ModuleLoadError: a class or function of the value can't be found in this process, or the module that has it
            would start something on a cluster.
    """
    with storage.local_file(key, Copies(cache_dir)) as file:
        return value_of(_map(file, storage.join(key)), storage.join(key))


def value_of(data: bytes | mmap.mmap, where: str) -> Any:
    """The value whose bytes these are, which is a view of them; ``where`` they are is said in an error.

    Errors as of :func:`read_value`, but FileNotFoundError.
    """
    view = memoryview(data)
    pickle_size, count = _sizes(view, where)
    table = _HEADER.size + pickle_size
    places = [_PLACE.unpack_from(view, table + index * _PLACE.size) for index in range(count)]
    buffers = [view[offset : offset + size] for offset, size in places]
    with loads().loading(), copy_on_write.reading(buffers):
        return pickle.loads(view[_HEADER.size : table], buffers=buffers)


def _pickle(file: _Spool, value: object, name: str) -> list[memoryview]:
    buffers: list[memoryview] = []
    try:
        Pickler(cast("IO[bytes]", file), buffer_callback=lambda buffer: buffers.append(buffer.raw())).dump(
            value
        )
    except OSError:  # the disk's, not the value's
        raise
    except Exception as error:
        path, part = unpicklable_part(value, name)
        kind = f"{type(part).__module__}.{type(part).__qualname__}"
        raise ResultSerializationError(
            f"{path} is a {kind}, which can't be pickled and kept ({error}). Return what it is made from "
            "instead (its settings, its weights), or give its class a __reduce__ method."
        ) from error
    return buffers


def _finish(file: IO[bytes], buffers: Sequence[memoryview]) -> int:
    """Write all that comes after the pickle, and the header; returns the size of the file."""
    pickle_size = file.tell() - _HEADER.size
    places = _places(file.tell() + len(buffers) * _PLACE.size, [buffer.nbytes for buffer in buffers])
    for place in places:
        file.write(_PLACE.pack(*place))
    for (offset, _), buffer in zip(places, buffers, strict=True):
        file.write(bytes(offset - file.tell()))
        file.write(buffer)
    size = file.tell()
    file.seek(0)
    file.write(_header(pickle_size, len(buffers), size))
    return size


def _header(pickle_size: int, buffers: int, size: int) -> bytes:
    return _HEADER.pack(_MAGIC, _VERSION, pickle_size, buffers, size)


def _places(start: int, sizes: list[int]) -> list[tuple[int, int]]:
    places = []
    for size in sizes:
        align = _PAGE if size >= _PAGE else _CACHE_LINE
        start = -(-start // align) * align
        places.append((start, size))
        start += size
    return places


def _map(file: IO[bytes], where: str) -> mmap.mmap:
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:  # it is empty
        raise _torn(where) from error


def _sizes(view: memoryview, where: str) -> tuple[int, int]:
    """The size of the pickle and the count of the buffers."""
    if len(view) < _HEADER.size or view[: len(_MAGIC)] != _MAGIC:
        raise _torn(where)
    _, version, pickle_size, count, size = _HEADER.unpack_from(view)
    if version != _VERSION:
        raise _unreadable(where, f"has format {version}, this flyteray reads {_VERSION}")
    if len(view) != size:
        raise _unreadable(where, f"has {len(view)} bytes instead of {size}")
    return pickle_size, count


def _torn(where: str) -> RuntimeSystemError:
    return _unreadable(where, "is not a value written by flyteray, or its writing was cut off")


def _unreadable(where: str, problem: str) -> RuntimeSystemError:
    return RuntimeSystemError(
        "UnreadableValue", f"{where} {problem}. Run the task again, or use the flyteray that wrote it."
    )
