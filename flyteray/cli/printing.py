"""Results go to stdout, as a table for people or as JSON for programs; all else to stderr."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from itertools import zip_longest
from typing import Any, Literal, TypeVar

import rich_click as click
from click import get_current_context
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from flyteray._plan.values.text import as_json
from flyteray.cli import options

F = TypeVar("F", bound=Callable[..., Any])
Output = Literal["table", "json"]

_WIDE = 1000  # columns of a drawing in a pipe
_PIPE = 120  # columns of a table that nobody may ever look at
_ANY = 25  # without a height rich takes no width for a dumb terminal
_GAP = 2
_NARROW = 20  # text in less is unreadable


def examples(*commands: str) -> str:
    """The end of a help, with one command a line (blank lines, or they are joined into a paragraph)."""
    return "\n\n".join(["Examples:", *commands])


def output_option(command: F) -> F:
    """``-o/--output table|json``, and ``--json`` for short, on every verb."""
    json_option = click.option(
        "--json",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=lambda context, param, given: options.keep_format(context, param, "json" if given else None),
        help="The same as --output json.",
    )
    as_before_the_verb = click.option(
        "-of",
        "--output-format",
        type=click.Choice(options.FORMATS, case_sensitive=False),
        expose_value=False,
        callback=options.keep_format,
        hidden=True,
    )
    return click.option(
        "-o",
        "--output",
        type=click.Choice(options.FORMATS),
        metavar="[table|json]",
        callback=_form,
        help="How to print the result (default: table).",
    )(json_option(as_before_the_verb(command)))


def also(option: str) -> type[click.RichCommand]:
    """The class of a command that has ``-o`` as Flyte's does, for another ``option``, unless a form follows it."""

    class Command(click.RichCommand):
        def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
            meant = [
                option if word == "-o" and next_word not in options.FORMATS else word
                for word, next_word in zip_longest(args, args[1:])
            ]
            return super().parse_args(ctx, meant)

    return Command


def form() -> Output:
    """The form of results that was asked for."""
    asked: str = get_current_context().meta.get(options.FORMAT, "table")
    return "json" if asked.startswith("json") else "table"


def _form(ctx: click.Context, param: click.Parameter, given: str | None) -> Output:
    options.keep_format(ctx, param, given)
    return form()


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


def pairs(option: str, given: Iterable[str]) -> dict[str, str]:
    """The values of an option that is given as ``KEY=VALUE``; BadParameter where one is not."""
    found = {}
    for text in given:
        key, there, value = text.partition("=")
        if not (there and key):
            raise click.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint=option)
        found[key] = value
    return found


def drawing(tree: RenderableType) -> None:
    """A result that is drawn; in a pipe in plain letters, as wide as it is."""
    if sys.stdout.isatty():
        Console(highlight=False).print(tree)
    else:
        Console(file=sys.stdout, highlight=False, color_system=None, width=_width() or _WIDE).print(tree)


def note(message: str) -> None:
    """Something to know that is no result."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(message))


@contextlib.contextmanager
def busy(text: str) -> Iterator[None]:
    """Show in a terminal that something goes on, unless nobody wants to see that."""
    if options.shows_progress():
        with Console(stderr=True).status(f"{text} …"):
            yield
    else:
        yield


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
