"""A file of records, each a line of JSON: read and written one after the other."""

from __future__ import annotations

import importlib
import io
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from typing import IO, Any

from flyteray.io.file import File
from flyteray.io.jsonl import lines
from flyteray.io.jsonl.lines import ROWS, AsyncWriter, OnError, Record
from flyteray.io.location import T

_ZSTD = (".zst", ".zstd")
_FLUSH = 1 << 20  # bytes


class JsonlWriter:
    """A writer of records; those that are held back are written at the end, or by :meth:`flush`."""

    def __init__(self, file: IO[bytes], flush_bytes: int) -> None:
        self._file = file
        self._flush_bytes = flush_bytes
        self._held = bytearray()

    def write(self, record: Record) -> None:
        """Write a record; TypeError where it has no form in JSON."""
        self.write_raw(lines.written(record))

    def write_many(self, records: Iterable[Record]) -> None:
        """Write records."""
        for record in records:
            self.write(record)

    def write_raw(self, data: bytes) -> None:
        """Write whole lines that are JSON already."""
        self._held += data
        if len(self._held) >= self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Hand what is held back to the file."""
        self._file.write(self._held)
        self._held = bytearray()


class JsonlFile(File[T]):
    """A :class:`File` of records. One whose name ends in ``.zst`` or ``.zstd`` is packed, by the package ``zstandard``.

    ``on_error`` says what becomes of a line that is no JSON: ``"raise"`` (ValueError), ``"skip"`` it with a warning, or
    a function that is called with its number, the line and the error.
    """

    def __init__(self, *, path: str, format: str = "jsonl", **more: Any) -> None:
        super().__init__(path=path, format=format, **more)

    def iter_records_sync(self, on_error: OnError = "raise") -> Iterator[dict[str, Any]]:
        """The records, one after the other."""
        with ExitStack() as stack:
            file = stack.enter_context(self.open_sync("rb"))
            if self._is_packed:
                unpacked = _zstandard().ZstdDecompressor().stream_reader(file, closefd=False)
                file = stack.enter_context(io.BufferedReader(unpacked))
            yield from lines.parsed(file, on_error)

    def iter_records(self, on_error: OnError = "raise") -> AsyncIterator[dict[str, Any]]:
        """Like :meth:`iter_records_sync`, for ``async for``."""
        return lines.beside(self.iter_records_sync(on_error))

    def iter_arrow_batches_sync(self, batch_size: int = ROWS, on_error: OnError = "raise") -> Iterator[Any]:
        """The records in batches of pyarrow of so many rows, all of the schema of the first one."""
        return lines.arrow_batches(self.iter_records_sync(on_error), batch_size)

    def iter_arrow_batches(self, batch_size: int = ROWS, on_error: OnError = "raise") -> AsyncIterator[Any]:
        """Like :meth:`iter_arrow_batches_sync`, for ``async for``."""
        return lines.beside(self.iter_arrow_batches_sync(batch_size, on_error), 1)

    @contextmanager
    def writer_sync(self, flush_bytes: int = _FLUSH, compression_level: int = 3) -> Iterator[JsonlWriter]:
        """A writer of records; the file is there, as a whole, when the context ends without an error.

        Args:
            flush_bytes: How many bytes are held back until they are written.
            compression_level: Of a packed file: 1 is quick, 22 is small.
        """
        with ExitStack() as stack:
            file = stack.enter_context(self.open_sync("wb"))
            if self._is_packed:
                packer = _zstandard().ZstdCompressor(level=compression_level)
                file = stack.enter_context(packer.stream_writer(file, closefd=False))
            writer = JsonlWriter(file, flush_bytes)
            yield writer
            writer.flush()

    def writer(
        self, flush_bytes: int = _FLUSH, compression_level: int = 3
    ) -> AbstractAsyncContextManager[AsyncWriter]:
        """Like :meth:`writer_sync`, for ``async with``; writing is awaited."""
        return lines.awaited(self.writer_sync(flush_bytes, compression_level))

    @property
    def _is_packed(self) -> bool:
        return self.path.lower().endswith(_ZSTD)


def _zstandard() -> Any:
    try:
        return importlib.import_module("zstandard")
    except ImportError as error:
        raise ImportError(
            "Files that end in .zst or .zstd are packed and unpacked by the package zstandard, which is not installed "
            "here: install it (or name it in the environment's image), or give the file another name."
        ) from error
