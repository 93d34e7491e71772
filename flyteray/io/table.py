"""The content of a table, in memory or in storage, is read as the frame of a library: whole, or by pieces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flyteray._machine.threads import finished, stepwise
from flyteray.io import frames
from flyteray.io.extend.handlers import handlers, message_of_frame, message_of_metadata

F = TypeVar("F")

_END = object()


@dataclass(frozen=True, eq=False)
class TableContent:
    """What a table is read from.

    Attributes:
        frame: The frame that holds it; None: it is in storage.
        uri: The path or URL that it has there; None: it has none.
        format: How it is written there; empty: as its name ends.
        columns: The types of the columns that were declared.
        selected: The columns that are wanted; None: all.
    """

    frame: Any
    uri: str | None
    format: str
    columns: Mapping[str, Any]
    selected: tuple[str, ...] | None

    def read(self, kind: type) -> Any:
        """The whole table as a frame of a class.

        Raises:
            ValueError: it can't be read as that, is none, or has not the columns that were declared.
            FileNotFoundError: it is not where it is said to be.
        """
        if self.frame is not None:
            if isinstance(self.frame, kind) and self.selected is None:
                return self.frame
            return frames.converted(frames.selected(self.frame, self.selected), _known_class(kind))
        decoded = self._decoded(kind)
        if decoded is not None:
            return _whole(decoded, kind)
        return frames.read(self._place, self._written, _known_class(kind), self.selected)

    def pieces(self, kind: type) -> Iterator[Any]:
        """The frames of a class that :meth:`read` puts together."""
        if self.frame is not None:
            yield from frames.pieces(self.read(kind))
            return
        decoded = self._decoded(kind)
        if decoded is None:
            yield from frames.read_pieces(self._place, self._written, _known_class(kind), self.selected)
        elif inspect.isasyncgen(decoded):
            steps: Any = decoded
            yield from stepwise(steps)
        else:
            yield decoded

    @property
    def _place(self) -> str:
        if self.uri is None:
            raise ValueError(
                "This DataFrame has neither a frame nor a uri: make one with DataFrame.wrap_df(frame), or give the "
                "uri of one."
            )
        return self.uri

    @property
    def _written(self) -> str:
        written = self.format or format_of(self._place) or frames.PARQUET
        check_format(written)
        return written

    def _decoded(self, kind: type) -> Any:
        """What the user's decoder for it gives; None where there is none."""
        place = self._place
        written = self.format or handlers().format(kind)
        decoder = handlers().decoder(kind, place, written)
        if decoder is None:
            return None
        wanted = message_of_metadata(self.columns, written)
        found = decoder.decode(message_of_frame(place, self.columns, written), wanted)
        return finished(found) if inspect.isawaitable(found) else found


class Opened(Generic[F]):
    """A table that is to be read as the frame of one library."""

    def __init__(self, content: Callable[[], TableContent], kind: type[F]) -> None:
        self._content = content
        self._kind = kind

    def all_sync(self) -> F:
        """The whole table; errors as of :meth:`DataFrame.all_sync`."""
        whole: F = self._content().read(self._kind)
        return whole

    async def all(self) -> F:
        """Like :meth:`all_sync`."""
        return await asyncio.to_thread(self.all_sync)

    def iter(self) -> Pieces[F]:
        """The table by pieces, for ``for`` or ``async for``; it may be awaited before, as in Flyte."""
        return Pieces(lambda: self._content().pieces(self._kind))


class Pieces(Generic[F]):
    """The pieces of a table: ``for piece in pieces``, ``async for piece in pieces``, or ``in await pieces``."""

    def __init__(self, begin: Callable[[], Iterator[F]]) -> None:
        self._begin = begin

    def __iter__(self) -> Iterator[F]:
        return self._begin()

    def __await__(self) -> Generator[Any, Any, Pieces[F]]:
        return self._itself().__await__()

    async def _itself(self) -> Pieces[F]:
        return self

    async def __aiter__(self) -> AsyncIterator[F]:
        pieces = self._begin()
        while True:
            piece: Any = await asyncio.to_thread(next, pieces, _END)
            if piece is _END:
                return
            yield piece


def format_of(place: str) -> str:
    """The format that the name of a file or folder ends with; empty where it ends with none that is known."""
    return next((each for each in frames.FORMATS if place.lower().rstrip("/").endswith(f".{each}")), "")


def check_format(format: str) -> None:
    """Raise ValueError where frames can't be written and read in that format without a handler of the user's."""
    if format not in frames.FORMATS:
        raise ValueError(
            f"Frames can't be written or read as {format!r}: there are {' and '.join(map(repr, frames.FORMATS))}, and "
            "those that you register handlers for (flyte.io.extend)."
        )


def _whole(decoded: Any, kind: type) -> Any:
    if not inspect.isasyncgen(decoded):
        return decoded
    raise ValueError(
        f"The decoder of {kind.__name__} gives it by pieces: read it with `for piece in df.open(...).iter()`."
    )


def _known_class(kind: type) -> type:
    if frames.library(kind) is None:
        raise ValueError(
            f"A table can't be read as {getattr(kind, '__name__', kind)}: open it as pandas.DataFrame, pyarrow.Table "
            "or polars.DataFrame, or register a decoder for it (flyte.io.extend)."
        )
    return kind
