"""Conditions of the command: shown, and answered."""

from __future__ import annotations

import rich_click as click

from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import Condition

_COLUMNS = ("run", "action", "name", "prompt", "kind", "state", "value", "created_at", "deadline")


@click.command(
    name="condition",
    epilog=printing.examples("flyteray get condition", "flyteray get condition r0123456789ab"),
)
@click.argument("run", required=False)
@click.argument("action", required=False)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get(run: str | None, action: str | None, limit: int, output: printing.Output) -> None:
    """The conditions that runs wait for, or waited for: of a run, of an action or those that it asks for."""
    require_cluster()
    found = Condition.listall(run, action, limit=limit)
    printing.rows([each.to_dict() for each in found], output, list(_COLUMNS))


@click.command(
    name="condition",
    epilog=printing.examples(
        "flyteray signal condition r0123456789ab approval true",
        "flyteray signal condition r0123456789ab approval",
    ),
)
@click.argument("run")
@click.argument("condition")
@click.argument("value", required=False)
@printing.output_option
def signal(run: str, condition: str, value: str | None, output: printing.Output) -> None:
    """Answer a condition of a run, by its name or action; without a VALUE it is asked for."""
    require_cluster()
    found = Condition.get(condition, run)
    if found is None:
        names = ", ".join(sorted({each.name for each in Condition.listall(run)})) or "none"
        raise click.ClickException(f"Run {run!r} has no condition {condition!r}. It has {names}.")
    if value is None:
        value = str(click.prompt(found.prompt, type=str))
    try:
        found.signal(value)
    except TypeError as error:
        raise click.UsageError(str(error)) from error
    printing.record(found.to_dict(), output, ["run", "name", "state", "value"])
