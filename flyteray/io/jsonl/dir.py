"""A folder of files of records, which are read in the order of their names, and written until each is full."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import Any

from flyteray.io.dir import Dir
from flyteray.io.jsonl import lines
from flyteray.io.jsonl.file import JsonlFile, JsonlWriter
from flyteray.io.jsonl.lines import ROWS, AsyncWriter, OnError, Record
from flyteray.io.location import T
from flyteray.storage import open_storage

_NAME = re.compile(r"\.jsonl(\.zstd?)?$", re.IGNORECASE)
_NUMBERED = re.compile(r"part-(\d+)\.")
_FLUSH = 1 << 20  # bytes
_FULL = 256 << 20  # bytes


class JsonlDirWriter:
    """A writer of records into the files of a folder, the next of which it begins when one is full."""

    def __init__(
        self, folder: JsonlDir[Any], suffix: str, most: tuple[int | None, int], options: tuple[int, int]
    ) -> None:
        self._place = open_storage(folder.path)
        self._suffix = suffix
        self._most_records, self._most_bytes = most
        self._options = options
        numbers = [int(found[1]) for each in folder.files_sync() if (found := _NUMBERED.match(each.name))]
        self._next = max(numbers, default=-1) + 1
        self._stack = ExitStack()
        self._writer: JsonlWriter | None = None
        self._records = self._bytes = 0

    def write(self, record: Record) -> None:
        """Write a record; TypeError where it has no form in JSON."""
        line = lines.written(record)
        full = self._records == self._most_records or self._bytes + len(line) > self._most_bytes
        if self._writer is not None and full:
            self._stack.close()
            self._writer = None
        if self._writer is None:
            file: JsonlFile[Any] = JsonlFile(path=self._place.join(f"part-{self._next:05d}{self._suffix}"))
            self._writer = self._stack.enter_context(file.writer_sync(*self._options))
            self._next, self._records, self._bytes = self._next + 1, 0, 0
        self._writer.write_raw(line)
        self._records, self._bytes = self._records + 1, self._bytes + len(line)

    def write_many(self, records: Iterable[Record]) -> None:
        """Write records."""
        for record in records:
            self.write(record)

    def __enter__(self) -> JsonlDirWriter:
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)


class JsonlDir(Dir[T]):
    """A :class:`Dir` of files of records, ``part-00000.jsonl`` and so on; ``on_error`` is that of :class:`JsonlFile`.

    Hints for reading ahead (``prefetch``, ``queue_size``) are not needed: an event loop goes on while a thread reads.
    """

    def __init__(self, *, path: str, format: str = "jsonl", **more: Any) -> None:
        super().__init__(path=path, format=format, **more)

    def files_sync(self) -> list[JsonlFile[T]]:
        """The files of records in the folder itself, sorted by name."""
        found = self.list_files_sync()
        return [JsonlFile(path=each.path) for each in found if _NAME.search(each.name)]

    def iter_records_sync(self, on_error: OnError = "raise") -> Iterator[dict[str, Any]]:
        """The records of all files, one after the other."""
        for file in self.files_sync():
            yield from file.iter_records_sync(on_error)

    def iter_records(
        self, on_error: OnError = "raise", prefetch: bool = True, queue_size: int = 8192
    ) -> AsyncIterator[dict[str, Any]]:
        """Like :meth:`iter_records_sync`, for ``async for``."""
        return lines.beside(self.iter_records_sync(on_error))

    def iter_batches_sync(
        self, batch_size: int = 1000, on_error: OnError = "raise"
    ) -> Iterator[list[dict[str, Any]]]:
        """The records in lists of so many, the last of which may be shorter."""
        return lines.batches(self.iter_records_sync(on_error), batch_size)

    def iter_batches(
        self,
        batch_size: int = 1000,
        on_error: OnError = "raise",
        prefetch: bool = True,
        queue_size: int = 8192,
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Like :meth:`iter_batches_sync`, for ``async for``."""
        return lines.beside(self.iter_batches_sync(batch_size, on_error), 1)

    def iter_arrow_batches_sync(self, batch_size: int = ROWS, on_error: OnError = "raise") -> Iterator[Any]:
        """The records in batches of pyarrow of so many rows, all of the schema of the first one."""
        return lines.arrow_batches(self.iter_records_sync(on_error), batch_size)

    def iter_arrow_batches(self, batch_size: int = ROWS, on_error: OnError = "raise") -> AsyncIterator[Any]:
        """Like :meth:`iter_arrow_batches_sync`, for ``async for``."""
        return lines.beside(self.iter_arrow_batches_sync(batch_size, on_error), 1)

    @contextmanager
    def writer_sync(
        self,
        shard_extension: str = ".jsonl",
        max_records_per_shard: int | None = None,
        max_bytes_per_shard: int = _FULL,
        flush_bytes: int = _FLUSH,
        compression_level: int = 3,
    ) -> Iterator[JsonlDirWriter]:
        """A writer of records into new files, numbered on from those that are there.

        A file is there, as a whole, once it is full; the last one when the context ends without an error.

        Args:
            shard_extension: How the files' names end: ``".jsonl"``, or ``".jsonl.zst"`` for packed ones.
            max_records_per_shard: The most records of a file; None: any number.
            max_bytes_per_shard: The most bytes of a file, before it is packed; a larger record has one to itself.
            flush_bytes, compression_level: As of :meth:`JsonlFile.writer_sync`.

        Raises:
            ValueError: files of such names would not be found again.
        """
        if not _NAME.fullmatch(shard_extension):
            raise ValueError(
                f"shard_extension is {shard_extension!r}: give '.jsonl', '.jsonl.zst' or '.jsonl.zstd'."
            )
        most = max_records_per_shard, max_bytes_per_shard
        with JsonlDirWriter(self, shard_extension, most, (flush_bytes, compression_level)) as writer:
            yield writer

    def writer(self, **options: Any) -> AbstractAsyncContextManager[AsyncWriter]:
        """Like :meth:`writer_sync`, for ``async with``; writing is awaited."""
        return lines.awaited(self.writer_sync(**options))
