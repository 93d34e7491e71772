"""Records become lines of JSON and back, in threads where an event loop is to go on meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Literal, Protocol, TypeVar

T = TypeVar("T")
Record = Mapping[str, Any]
OnError = Literal["raise", "skip"] | Callable[[int, bytes, Exception], None]

ROWS = 65_536
_AT_ONCE = 1000  # records that a thread reads or writes while a loop goes on

logger = logging.getLogger(__name__)


class Writer(Protocol):
    """A writer of records."""

    def write_many(self, records: Iterable[Record]) -> None:
        """Write records."""

    def write(self, record: Record) -> None:
        """Write a record."""


class AsyncWriter:
    """A writer whose methods are awaited. Records are handed on by the thousand, and at the end."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._held: list[Record] = []

    async def write(self, record: Record) -> None:
        """Write a record."""
        self._held.append(record)
        if len(self._held) >= _AT_ONCE:
            await self.flush()

    async def write_many(self, records: Iterable[Record]) -> None:
        """Write records."""
        for record in records:
            await self.write(record)

    async def flush(self) -> None:
        """Hand on what is held back."""
        held, self._held = self._held, []
        await asyncio.to_thread(self._writer.write_many, held)


@asynccontextmanager
async def awaited(opened: AbstractContextManager[Writer]) -> AsyncIterator[AsyncWriter]:
    """A writer for ``async with``, of one for ``with``."""
    writer = AsyncWriter(await asyncio.to_thread(opened.__enter__))
    try:
        yield writer
        await writer.flush()
    except BaseException as error:
        if not await asyncio.to_thread(opened.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(opened.__exit__, None, None, None)


async def beside(values: Iterator[T], at_once: int = _AT_ONCE) -> AsyncIterator[T]:
    """Values for ``async for``, so many of which a thread reads at once."""
    while some := await asyncio.to_thread(lambda: list(itertools.islice(values, at_once))):
        for value in some:
            yield value


def written(record: Record) -> bytes:
    """The line of a record; TypeError where it has no form in JSON."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def parsed(lines: Iterable[bytes], on_error: OnError) -> Iterator[dict[str, Any]]:
    """The records of lines; empty ones are left out.

    What is no JSON is raised (ValueError, with its number), skipped with a warning, or told to a function.
    """
    if on_error not in ("raise", "skip") and not callable(on_error):
        raise ValueError(
            f"on_error is {on_error!r}: give 'raise', 'skip', or a function of number, line and error."
        )
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            if on_error == "raise":
                raise ValueError(f"Line {number} is no JSON: {error}. It begins {line[:80]!r}.") from error
            if on_error == "skip":
                logger.warning("Line %d is left out, as it is no JSON: %s", number, error)
            else:
                on_error(number, line, error)
            continue
        yield record


def batches(records: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Records in lists of so many, the last of which may be shorter."""
    while batch := list(itertools.islice(records, size)):
        yield batch


def arrow_batches(records: Iterator[dict[str, Any]], size: int) -> Iterator[Any]:
    """Records in batches of pyarrow of so many rows, all of the schema of the first one."""
    pyarrow = importlib.import_module("pyarrow")
    schema = None
    for batch in batches(records, size):
        made = pyarrow.RecordBatch.from_pylist(batch, schema=schema)
        schema = made.schema
        yield made
