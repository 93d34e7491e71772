"""Triggers of the command: shown, made, switched on and off, deleted by its verbs."""

from __future__ import annotations

from typing import Any

import rich_click as click

from flyteray._declare.near import did_you_mean
from flyteray._declare.options.schedule import Cron
from flyteray._declare.options.trigger import Trigger as Declared
from flyteray._declare.options.trigger import TriggerTime
from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import Trigger

_COLUMNS = ("task", "name", "active", "schedule", "next_time", "last_run", "error")


@click.command(
    name="trigger",
    epilog=printing.examples(
        "flyteray get trigger", "flyteray get trigger env.train", "flyteray get trigger env.train nightly"
    ),
)
@click.argument("task", required=False)
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get(task: str | None, name: str | None, limit: int, output: printing.Output) -> None:
    """The triggers, those of a task, or one of them: its next time, its last run, or why that was not started."""
    require_cluster()
    if task is not None and name is not None:
        printing.record(_facts(Trigger.get(name=name, task_name=task)), output)
        return
    found = Trigger.listall(task, limit=limit)
    if task is not None and not found:
        there = {each.task_name for each in Trigger.listall(limit=1000)}
        printing.note(f"Task {task!r} has no triggers.{did_you_mean(task, there)}")
    facts = [_facts(each) for each in found]
    columns = [column for column in _COLUMNS if column != "error" or any(each["error"] for each in facts)]
    printing.rows(facts, output, columns)


@click.command(
    name="trigger",
    epilog=printing.examples(
        'flyteray create trigger env.train nightly --schedule "0 3 * * *" --timezone Europe/Berlin',
        'flyteray create trigger env.train often --schedule "*/5 * * * *" --no-auto-activate',
    ),
)
@click.argument("task")
@click.argument("name")
@click.option(
    "--schedule",
    metavar="CRON",
    required=True,
    help="Minute, hour, day of the month, month, day of the week.",
)
@click.option(
    "--timezone", default="UTC", show_default=True, help="Whose clock: a name such as Europe/Berlin."
)
@click.option("--description", default="", help="For people.")
@click.option(
    "--auto-activate/--no-auto-activate", default=True, show_default=True, help="Whether it is active."
)
@click.option("--trigger-time-var", metavar="INPUT", help="The input that is given the time of the schedule.")
@printing.output_option
def create(
    task: str,
    name: str,
    schedule: str,
    timezone: str,
    description: str,
    auto_activate: bool,
    trigger_time_var: str | None,
    output: printing.Output,
) -> None:
    """Have a deployed TASK run by a schedule, always in its newest version; a trigger of that NAME is replaced."""
    try:
        inputs = {trigger_time_var: TriggerTime} if trigger_time_var else None
        declared = Declared(name, Cron(schedule, timezone), description, auto_activate, inputs)
        require_cluster()
        made = Trigger.create(declared, task)
    except (ValueError, TypeError) as error:
        raise click.UsageError(str(error)) from error
    when = (
        f"its next run is at {made.next_time:%Y-%m-%d %H:%M:%S} UTC" if made.next_time else "it is not active"
    )
    printing.confirm(_facts(made), output, f"Trigger {name} of {task} is kept: {when}.")


@click.command(
    name="trigger",
    epilog=printing.examples("flyteray update trigger nightly env.train --deactivate"),
)
@click.argument("name")
@click.argument("task")
@click.option("--activate/--deactivate", default=None, help="Switch it on, or off; one of them must be said.")
@printing.output_option
def update(name: str, task: str, activate: bool | None, output: printing.Output) -> None:
    """Switch the trigger NAME of a TASK on or off; what passes while it is off is not caught up."""
    if activate is None:
        raise click.UsageError("Say --activate or --deactivate.")
    require_cluster()
    Trigger.update(name, task, activate)
    printing.record(_facts(Trigger.get(name=name, task_name=task)), output)


@click.command(name="trigger", epilog=printing.examples("flyteray delete trigger nightly env.train"))
@click.argument("name")
@click.argument("task")
@printing.output_option
def delete(name: str, task: str, output: printing.Output) -> None:
    """Forget the trigger NAME of a TASK; its runs stay. One that the task declares is back when that is deployed."""
    require_cluster()
    Trigger.delete(name, task)
    printing.confirm(
        {"name": name, "task": task, "deleted": True}, output, f"Trigger {name} of {task} is deleted."
    )


def _facts(trigger: Trigger) -> dict[str, Any]:
    info = trigger.info
    return {
        "task": trigger.task_name,
        "name": trigger.name,
        "active": trigger.is_active,
        "schedule": info.spec.automation,
        "version": trigger.task_version or "newest",
        "description": info.spec.description or None,
        "next_time": trigger.next_time,
        "last_time": info.last_tick,
        "last_run": info.last_run,
        "error": info.error,
        "updated_at": info.updated_at,
    }
