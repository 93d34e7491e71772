"""Keys of the command: those for apps that ask for one are made, shown and deleted by its verbs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import rich_click as click

from flyteray._declare.facts import PRIORITIES, ROLES, Priority, Role
from flyteray._plan.values.times import read_datetime, read_timedelta
from flyteray.cli import printing
from flyteray.remote import Key

_COLUMNS = ("name", "role", "apps", "priority", "expires_at", "created_at", "created_by")


@click.command(
    name="key",
    epilog=printing.examples(
        "flyteray create key alice",
        "flyteray create key shop --app recommend --expires 90d",
        "KEY=$(flyteray create key ci --role deploy)",
    ),
)
@click.argument("name")
@click.option(
    "--app", "apps", multiple=True, metavar="APP", help="An app that it opens; without it, all of them."
)
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="invoke",
    show_default=True,
    help="What it may do: read how things are, invoke apps, deploy and start things by a webhook, or all.",
)
@click.option(
    "--expires", metavar="TIME", help="When it ends: after a time such as 90d or 12h, or at 2030-01-31."
)
@click.option(
    "--priority",
    type=click.Choice(PRIORITIES),
    default="normal",
    show_default=True,
    help="Whether its requests go first where an app has more to do than it takes at one time.",
)
@printing.output_option
def create(
    name: str,
    apps: tuple[str, ...],
    role: Role,
    expires: str | None,
    priority: Priority,
    output: printing.Output,
) -> None:
    """Make a key for apps that require auth, and print it this once; NAME says whose it is.

    It goes with each request as the header 'Authorization: Bearer KEY'; people paste it where a browser is led to that
    opens such an app. flyteray keeps only its SHA-256. Each role may do what those before it may.
    """
    try:
        made = Key.create(name, role, apps, None if expires is None else _end(expires), priority)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if output == "json":
        printing.record({**_facts(made), "key": made.value}, output)
    else:
        print(made.value)
        printing.note(f"This is the key of {name}. It is not shown again: keep it safe.")


@click.command(name="key", epilog=printing.examples("flyteray get key", "flyteray get key --changes"))
@click.option("--changes", is_flag=True, help="Who has made and deleted which key, the newest first.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get(changes: bool, limit: int, output: printing.Output) -> None:
    """The keys for apps that require auth, by name; the keys themselves are never shown."""
    if changes:
        told = [each.model_dump() for each in Key.changes(limit)]
        printing.rows(told, output, ("at", "action", "name", "by"))
    else:
        printing.rows([_facts(key) for key in Key.listall(limit)], output, _COLUMNS)


@click.command(name="key", epilog=printing.examples("flyteray delete key alice"))
@click.argument("name")
@printing.output_option
def delete(name: str, output: printing.Output) -> None:
    """Answer no more requests with a key, and end WebSockets and answers that are under way with it."""
    Key.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"Key {name} is deleted.")


def _facts(key: Key) -> dict[str, Any]:
    facts = {name: getattr(key, name) for name in _COLUMNS}
    return facts | {"apps": list(key.apps), "has_ended": key.has_ended}


def _end(text: str) -> timedelta | datetime:
    """A time from now or a point in time, as ``--expires`` has it."""
    for read in (read_timedelta, read_datetime):
        try:
            return read(text)
        except ValueError:
            continue
    raise ValueError(
        f"--expires {text!r} is no time: write one from now, such as 90d or 12h, or a date such as 2030-01-31."
    )
