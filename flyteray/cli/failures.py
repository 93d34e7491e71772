"""Failures become one red paragraph on stderr and an exit code: 2 for usage, 1 for the rest. Warnings become notes."""

from __future__ import annotations

import contextlib
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO

import click as plain_click
import rich_click as click
from click.exceptions import Exit

from flyteray.cli import options
from flyteray.errors import BaseRuntimeError

FAILED = 1
INTERRUPTED = 130  # as shells say it


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Say what a flyteray error means instead of showing where in flyteray it was raised."""
    try:
        yield
    except BaseRuntimeError as error:
        fail(error)


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Do as :func:`explained` around calls of the user's functions and checks of what they are given."""
    try:
        yield
    except (click.ClickException, click.Abort, Exit):
        raise
    except Exception as error:  # noqa: BLE001  # the user's code may raise anything
        fail(error)


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Say warnings of what the command itself does without a place in its code; those of users' code keep theirs."""
    show = warnings.showwarning
    own = str(Path(plain_click.__file__).parent)  # it calls the verbs

    def say(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if filename.startswith(own):
            from flyteray.cli import printing  # deferred: help must be quick

            printing.note(f"Warning: {message}")
        else:
            show(message, category, filename, lineno, file, line)

    warnings.showwarning = say
    try:
        yield
    finally:
        warnings.showwarning = show


def fail(error: Exception) -> NoReturn:
    """Show an error with the user's frames only, unless -v asks for all, and leave."""
    # Deferred: most commands succeed, and help must be quick.
    from rich.console import Console
    from rich.text import Text

    from flyteray._plan import failure  # deferred, as above

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if where := _frames(error):
        console.print(Text(where.strip("\n")))
    text = failure.message(failure.as_flyteray(error))
    console.print(Text.assemble(("Error: ", "bold red"), (text, "red")))
    raise Exit(FAILED)


def _frames(error: BaseException) -> str:
    """Where in the user's code it happened: here, or on the cluster; with -v where in all code."""
    if options.is_verbose():
        return "".join(traceback.format_exception(error))
    from flyteray._plan import failure  # deferred, as above

    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        if isinstance(link, failure.RemoteTraceback):
            return link.text
        seen.add(id(link))
        link = link.__cause__
    origin = error.__cause__ if isinstance(error, BaseRuntimeError) else error
    return failure.user_traceback(origin) if origin is not None else ""
