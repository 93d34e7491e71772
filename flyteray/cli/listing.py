"""The tasks of a file, or its apps, are listed where none of them is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import rich_click as click
from click import get_current_context
from click.exceptions import Exit

_WRONG_USAGE = 2  # as click has it


def show(
    verb: str, file: str, found: Mapping[str, str], about: str, kind: str, *, asked: bool, more: str = ""
) -> NoReturn:
    """Show what there is, each with the first sentence of its docs, and leave as click does for commands.

    Args:
        verb: What is done with one of them.
        file: Where they are.
        found: The docs of each by its name.
        about: The docs of all of them.
        kind: What they are, in the singular.
        asked: Whether help was asked for: it goes to stdout, with exit code 0; else to stderr, with code 2.
        more: What may follow the name.
    """
    commands: dict[str, click.Command] = {
        name: click.RichCommand(name=name, help=text) for name, text in found.items()
    }
    group = click.RichGroup(
        name=file,
        commands=commands,
        help=about,
        subcommand_metavar=f"{kind.upper()} {more}".strip(),
        context_settings={"rich_help_config": {"commands_panel_title": f"{kind.capitalize()}s"}},
    )
    ctx = get_current_context()
    with group.make_context(f"{verb} {file}", [], parent=ctx.parent, resilient_parsing=True) as shown:
        click.echo(group.get_help(shown), err=not asked)
    raise Exit(0 if asked else _WRONG_USAGE)
