"""Results go to stdout, as a table for people or as JSON for programs; all else to stderr."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar

import rich_click as click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from flyteray._plan.values.text import as_json

F = TypeVar("F", bound=Callable[..., Any])
Output = Literal["table", "json"]

_PIPE = 120  # columns of a table that nobody may ever look at
_ANY = 25  # without a height rich takes no width for a dumb terminal
_GAP = 2
_NARROW = 20  # text in less is unreadable


def examples(*commands: str) -> str:
    """The end of a help, with one command a line (blank lines, or they are joined into a paragraph)."""
    return "\n\n".join(["Examples:", *commands])


def output_option(command: F) -> F:
    """``-o/--output table|json``, on every verb."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        default="table",
        show_default=True,
        help="How to print the result.",
    )(command)


def rows(records: Sequence[Mapping[str, Any]], output: Output, columns: Sequence[str]) -> None:
    """Records: all of them as a JSON list, or the named columns as a table; one by one where that is too wide."""
    if output == "json":
        print(_json(list(records)))
        return
    heads = [Text(column.replace("_", " ").upper()) for column in columns]
    lines = [[_cell(record.get(column)) for column in columns] for record in records]
    widths = _widths([list(column) for column in zip(heads, *lines, strict=True)], _width())
    if widths is None:
        for number, each in enumerate(records):
            print("\n" * bool(number), end="")
            record(each, output, columns)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, width in zip(heads, widths, strict=True):
        table.add_column(head, overflow="fold", width=width)
    for line in lines:
        table.add_row(*line)
    _print(table, sum(widths) + _GAP * len(widths))


def record(value: Mapping[str, Any], output: Output, fields: Sequence[str] | None = None) -> None:
    """One record: all of it as a JSON object, or the named fields (all by default) as lines."""
    if output == "json":
        print(_json(value))
        return
    shown = [field for field in fields or list(value) if value.get(field) not in (None, {}, (), [])]
    heads = [Text(field.replace("_", " ")) for field in shown]
    cells = [_cell(value[field]) for field in shown]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for head, cell in zip(heads, cells, strict=True):
        table.add_row(head, cell)
    _print(table, _width() or max(_PIPE, _longest_word(heads) + _GAP + _longest_word(cells)))


def note(message: str) -> None:
    """Something to know that is no result."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(message))


def confirm(value: Mapping[str, Any], output: Output, sentence: str) -> None:
    """A deed, as a JSON object on stdout, or a sentence for people."""
    if output == "json":
        record(value, output)
    else:
        note(sentence)


def _width() -> int | None:
    """The columns of the terminal, or as many as ``COLUMNS`` says; None in a pipe, where nobody says."""
    if "COLUMNS" not in os.environ and not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def _print(table: Table, width: int) -> None:
    if sys.stdout.isatty():
        Console(highlight=False, width=width, height=_ANY).print(table)
        return
    text = io.StringIO()
    Console(file=text, highlight=False, width=width, height=_ANY).print(table)
    print("\n".join(line.rstrip() for line in text.getvalue().splitlines()))


def _widths(columns: Sequence[Sequence[Text]], width: int | None) -> list[int] | None:
    """The widths of a table's columns within ``width``; None: side by side they would break words.

    Without ``width`` they are as readable as they can be.
    """
    wanted = [max(cell_len(line) for cell in column for line in cell.plain.split("\n")) for column in columns]
    widths = [
        max(_longest_word(column), min(_NARROW, full)) for column, full in zip(columns, wanted, strict=True)
    ]
    spare = (width or _PIPE) - sum(widths) - _GAP * (len(widths) - 1)
    if spare < 0 and width is not None:
        return None
    for number in sorted(range(len(widths)), key=lambda each: wanted[each] - widths[each]):
        more = max(0, min(spare, wanted[number] - widths[number]))
        widths[number] += more
        spare -= more
    return widths


def _longest_word(cells: Iterable[Text]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.plain.split()), default=1)


def _cell(value: Any) -> Text:
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return Text(aware.astimezone().strftime("%Y-%m-%d %H:%M:%S"))
    if isinstance(value, Mapping):
        return Text("\n".join(f"{key}: {each}" for key, each in value.items()))
    if isinstance(value, (tuple, list)):
        return Text(", ".join(map(str, value)))
    return Text("" if value is None else str(value))


def _json(value: Any) -> str:
    text = as_json(value, indent=2)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal of an older kind: JSON can do without
        return json.dumps(json.loads(text), indent=2)
    return text
