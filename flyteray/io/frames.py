"""A frame is a table of pandas, pyarrow or polars: it becomes that of another library, a file, and a frame again.

Libraries are imported where somebody has a frame of theirs, or asks for one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import IO, Any

from flyteray.storage import locate_file, open_storage

PARQUET = "parquet"
CSV = "csv"
FORMATS = (PARQUET, CSV)
ROWS = 65_536  # of a piece

_CLASSES = {("pandas", "DataFrame"), ("pyarrow", "Table"), ("polars", "DataFrame"), ("polars", "LazyFrame")}


def library(kind: Any) -> str | None:
    """The library of a class of frames, ``"pandas"``, ``"pyarrow"`` or ``"polars"``; None: it is no such class."""
    for base in getattr(kind, "__mro__", ()):
        package = base.__module__.partition(".")[0]
        if (package, base.__name__) in _CLASSES:
            return str(package)
    return None


def column_names(frame: Any) -> list[str]:
    """The names of a frame's columns."""
    if type(frame).__name__ == "LazyFrame":
        return list(frame.collect_schema().names())
    return list(frame.column_names if library(type(frame)) == "pyarrow" else frame.columns)


def selected(frame: Any, columns: Sequence[str] | None) -> Any:
    """A frame of those columns only; all of them by default. ValueError: it has no such column."""
    if columns is None:
        return frame
    check_columns(columns, column_names(frame))
    return frame[list(columns)] if library(type(frame)) == "pandas" else frame.select(list(columns))


def check_columns(wanted: Sequence[str], there: Sequence[str]) -> None:
    """Refuse columns that are not there (ValueError)."""
    if missing := [each for each in wanted if each not in there]:
        known = ", ".join(map(str, there)) or "none"
        raise ValueError(f"there is no column {', '.join(map(repr, missing))}. The columns: {known}")


def converted(frame: Any, kind: type) -> Any:
    """A frame as one of another class; the frame itself where it is of that class."""
    if isinstance(frame, kind):
        return frame
    return _of_arrow(to_arrow(frame), kind)


def to_arrow(frame: Any) -> Any:
    """A frame as a table of pyarrow."""
    pyarrow = importlib.import_module("pyarrow")
    if isinstance(frame, pyarrow.Table):
        return frame
    if library(type(frame)) == "pandas":
        return pyarrow.Table.from_pandas(frame)
    return (frame.collect() if hasattr(frame, "collect") else frame).to_arrow()


def pieces(frame: Any, rows: int = ROWS) -> Iterator[Any]:
    """A frame cut into frames of so many rows; an empty one is its only piece."""
    if type(frame).__name__ == "LazyFrame":
        frame = frame.collect()
    count = frame.num_rows if library(type(frame)) == "pyarrow" else len(frame)
    for start in range(0, count or 1, rows):
        yield (
            frame.iloc[start : start + rows] if library(type(frame)) == "pandas" else frame.slice(start, rows)
        )


def write(frame: Any, url: str, format: str) -> None:
    """Write a frame to a file; it appears there as a whole. An index of pandas is kept in Parquet, not in CSV."""
    storage, key = locate_file(url)
    with storage.writer(key) as file:
        if format == PARQUET:
            _parquet().write_table(to_arrow(frame), file)
        elif library(type(frame)) == "pandas":
            frame.to_csv(file, index=False)
        else:
            importlib.import_module("pyarrow.csv").write_csv(to_arrow(frame), file)


def read(url: str, format: str, kind: type, columns: Sequence[str] | None) -> Any:
    """Read a frame from a file, or from all the files in a folder.

    FileNotFoundError: nothing is there. ValueError: no such column.
    """
    parts = []
    for opened in _files(url):
        with opened as file:
            parts.append(_read_file(file, format, kind, columns))
    if format == PARQUET:  # read as of pyarrow
        pyarrow = importlib.import_module("pyarrow")
        return _of_arrow(parts[0] if len(parts) == 1 else pyarrow.concat_tables(parts), kind)
    if len(parts) == 1:
        return parts[0]
    package = importlib.import_module(str(library(kind)))
    if library(kind) == "pandas":
        return package.concat(parts, ignore_index=True)
    return (package.concat_tables if library(kind) == "pyarrow" else package.concat)(parts)


def read_pieces(url: str, format: str, kind: type, columns: Sequence[str] | None) -> Iterator[Any]:
    """Read what :func:`read` does, a piece after the other: memory holds one at a time."""
    for opened in _files(url):
        with opened as file:
            yield from _pieces_of_file(file, format, kind, columns)


def _files(url: str) -> Iterator[AbstractContextManager[IO[bytes]]]:
    storage, key = locate_file(url)
    if storage.exists(key):
        yield storage.reader(key)
        return
    folder = open_storage(url)
    keys = [each for each in folder.list() if not each.rpartition("/")[2].startswith((".", "_"))]
    if not keys:
        raise FileNotFoundError(
            f"There is no frame at {url}: no file and no folder with files. Was it deleted, or never written?"
        )
    yield from map(folder.reader, keys)


def _parquet() -> Any:
    try:
        return importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ImportError(
            "Parquet is written and read by pyarrow, which is not installed here: install it (or name it in the "
            'environment\'s image), or use format="csv" with pandas.'
        ) from error


def _read_file(file: IO[bytes], format: str, kind: type, columns: Sequence[str] | None) -> Any:
    if format == PARQUET:
        parquet = _parquet().ParquetFile(file)
        _check_stored(columns, parquet)
        return parquet.read(columns=None if columns is None else list(columns))
    if library(kind) == "pandas":
        return selected(importlib.import_module("pandas").read_csv(file), columns)
    return _of_arrow(selected(importlib.import_module("pyarrow.csv").read_csv(file), columns), kind)


def _pieces_of_file(file: IO[bytes], format: str, kind: type, columns: Sequence[str] | None) -> Iterator[Any]:
    if format == PARQUET:
        parquet = _parquet().ParquetFile(file)
        _check_stored(columns, parquet)
        batches = parquet.iter_batches(batch_size=ROWS, columns=None if columns is None else list(columns))
    elif library(kind) == "pandas":
        chunks = importlib.import_module("pandas").read_csv(file, chunksize=ROWS)
        yield from (selected(chunk, columns) for chunk in chunks)
        return
    else:
        batches = importlib.import_module("pyarrow.csv").open_csv(file)
    for batch in batches:
        table = importlib.import_module("pyarrow").Table.from_batches([batch])
        yield _of_arrow(selected(table, columns), kind)


def _check_stored(columns: Sequence[str] | None, parquet: Any) -> None:
    if columns is not None:
        check_columns(columns, parquet.schema_arrow.names)


def _of_arrow(table: Any, kind: type) -> Any:
    makers: dict[str | None, Callable[[], Any]] = {
        "pyarrow": lambda: table,
        "pandas": lambda: table.to_pandas(),
        "polars": lambda: importlib.import_module("polars").from_arrow(table),
    }
    made = makers[library(kind)]()
    return made.lazy() if kind.__name__ == "LazyFrame" else made
