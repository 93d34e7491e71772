"""An annotation says of a table which columns it has, how it is written, and how its content is identified."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyteray.io.dataframe import DataFrame
from flyteray.io.extend.handlers import handlers
from flyteray.io.frames import library
from flyteray.io.hashing import HashMethod


@dataclass(frozen=True)
class Table:
    """A table as an annotation wants it.

    Attributes:
        kind: A class of frames, or :class:`DataFrame`.
        columns: The types of the columns by name; None: all that there are.
        format: How it is to be written; empty: it may stay in memory.
        hash_method: What identifies its content; None: nothing was said.
    """

    kind: type
    columns: Mapping[str, Any] | None = None
    format: str = ""
    hash_method: HashMethod | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the frame as it is."""
        return self.columns is None and not self.format and self.hash_method is None


def table(annotation: Any) -> Table | None:
    """The table that an annotation means, ``Annotated[pandas.DataFrame, {"id": int}, "csv"]`` such as; None: none.

    Columns are a dict, a class with annotations or a schema of pyarrow; the format is a text; what identifies the
    content is a :class:`HashMethod`. ValueError: something is said twice.
    """
    kind, *more = typing.get_args(annotation) if _is_annotated(annotation) else (annotation,)
    if not isinstance(kind, type) or not is_table(kind):
        return None
    said: dict[str, Any] = {}
    for each in more:
        name, value = _said(each)
        if name in said:
            raise ValueError(
                f"{annotation} says twice {_WORDS[name]}: {said[name]!r} and {value!r}. Leave one out."
            )
        if name:
            said[name] = value
    return Table(kind, **said)


def _is_annotated(annotation: Any) -> bool:
    return typing.get_origin(annotation) is typing.Annotated


def is_table(kind: type) -> bool:
    """Whether values of a class are tables."""
    return kind is DataFrame or library(kind) is not None or handlers().handles(kind)


_WORDS = {
    "columns": "which columns there are",
    "format": "in which format",
    "hash_method": "what identifies it",
}


def _said(metadata: Any) -> tuple[str, Any]:
    if isinstance(metadata, HashMethod):
        return "hash_method", metadata
    if isinstance(metadata, str):
        return "format", metadata
    if isinstance(metadata, Mapping):
        return "columns", dict(metadata)
    if isinstance(metadata, type) and getattr(metadata, "__annotations__", None):
        return "columns", dict(metadata.__annotations__)
    if (type(metadata).__module__.partition(".")[0], type(metadata).__name__) == ("pyarrow", "Schema"):
        return "columns", dict(zip(metadata.names, metadata.types, strict=True))
    return "", None
