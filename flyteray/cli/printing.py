"""Results on stdout, as a table for people or as JSON for programs; all else on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal, TypeVar

import rich_click as click
from pydantic_core import to_json
from rich.console import Console
from rich.table import Table
from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])
Output = Literal["table", "json"]


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
    """Records: all of them as a JSON list, or the named columns as a table."""
    if output == "json":
        print(_json(list(records)))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " ").upper(), overflow="fold")
    for record in records:
        table.add_row(*(_cell(record.get(column)) for column in columns))
    _console().print(table)


def record(value: Mapping[str, Any], output: Output, fields: Sequence[str] | None = None) -> None:
    """One record: all of it as a JSON object, or the named fields (all by default) as lines."""
    if output == "json":
        print(_json(value))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for field in fields or list(value):
        if value.get(field) not in (None, {}, (), []):
            table.add_row(field.replace("_", " "), _cell(value[field]))
    _console().print(table)


def note(message: str) -> None:
    """Something to know that is no result."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(message))


def _console() -> Console:
    # Width only where there is one: a pipe must get whole lines.
    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)


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
    """As JSON; what has no such form as its Python repr."""
    return to_json(value, indent=2, fallback=repr, inf_nan_mode="strings", bytes_mode="base64").decode()
