"""The cache of the command: the results that are kept for equal calls are shown and deleted by its verbs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import rich_click as click

from flyteray._client.runs.results import kept_results, kept_results_of_local_mode
from flyteray._declare.near import did_you_mean
from flyteray._plan.cache.entry import Entry
from flyteray._plan.values.times import read_timedelta
from flyteray.cli import printing


class Duration(click.ParamType):  # type: ignore[type-arg] # which older ones of click do not take
    """A duration as people write it."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """The duration; a usage error says how to write one."""
        try:
            return value if isinstance(value, timedelta) else read_timedelta(value)
        except ValueError as error:
            self.fail(f"{value!r} is no duration: {error}.", param, ctx)


@click.command(
    name="cache", epilog=printing.examples("flyteray get cache", "flyteray get cache env.train -o json")
)
@click.argument("task", required=False)
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get(task: str | None, limit: int, output: printing.Output) -> None:
    """The results that are kept for equal calls, of all tasks or of one by its full name; the newest come first."""
    found = kept_results().entries(task)
    if task is not None and not found:
        _note_unknown(task)
    facts = [_facts(entry) for entry in found[:limit]]
    printing.rows(facts, output, ("task", "run", "action", "made_at", "bytes", "key"))


@click.command(
    name="cache",
    epilog=printing.examples(
        "flyteray delete cache",
        "flyteray delete cache env.train",
        'flyteray delete cache --older-than "30 days"',
    ),
)
@click.argument("task", required=False)
@click.option(
    "--older-than", type=Duration(), metavar="DURATION", help='Only results that old: "12 hours", "30 days".'
)
@printing.output_option
def delete(task: str | None, older_than: timedelta | None, output: printing.Output) -> None:
    """Forget the results that are kept for equal calls, of all tasks or of one; runs keep their outputs."""
    deleted = kept_results().delete(task, older_than)
    if task is not None and not deleted and older_than is None:
        _note_unknown(task)
    printing.confirm({"task": task, "deleted": deleted}, output, _deleted(deleted))


@click.command(name="local-cache", epilog=printing.examples("flyteray delete local-cache"))
@printing.output_option
def delete_local(output: printing.Output) -> None:
    """Forget the results that local mode reuses; a local cluster has the same, unless it was given a storage."""
    deleted = kept_results_of_local_mode().delete()
    printing.confirm({"deleted": deleted}, output, _deleted(deleted))


def _deleted(count: int) -> str:
    return f"{count} kept result{' is' if count == 1 else 's are'} deleted."


def _note_unknown(task: str) -> None:
    there = {entry.task for entry in kept_results().entries()}
    printing.note(f"No result of a task {task!r} is kept.{did_you_mean(task, there)}")


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "task": entry.task,
        "run": entry.run,
        "action": entry.action,
        "made_at": entry.made_at,
        "bytes": entry.nbytes,
        "key": entry.key,
    }
