"""What the command shows of runs and of their actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import rich_click as click

from flyteray._client.bridge import run_blocking
from flyteray._client.runs.tree import drawn, fetch
from flyteray._declare.near import did_you_mean
from flyteray._plan.info import ActionInfo, ActionPhase, RunInfo, to_json
from flyteray._plan.values.text import safe_repr
from flyteray._plan.values.times import read_datetime
from flyteray.cli import failures, options, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import Action, ActionDetails, Run, TimeFilter

F = TypeVar("F", bound=Callable[..., Any])

_IN_THE_TREE = 1000  # actions that are told one by one
_OF_ACTIONS = ("action", "task", "phase", "attempts", "started_at", "ended_at")

_phases = click.option(
    "--in-phase",
    type=click.Choice([str(phase) for phase in ActionPhase]),
    multiple=True,
    help="Only in this phase; can be given several times.",
)


def _time(_: click.Context, option: click.Parameter, text: str | None) -> datetime | None:
    try:
        return None if text is None else read_datetime(text).astimezone()
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time: {error}.", param=option) from error


def _when(name: str, what: str) -> Callable[[F], F]:
    return click.option(
        name, metavar="TIME", callback=_time, help=f'Only those {what} then: 2024-05-31T12:00, "now - 1 day".'
    )


@click.command(
    name="run",
    epilog=printing.examples(
        "flyteray get run --in-phase failed",
        "flyteray get run --with-label team=a",
        "flyteray get run r0123456789ab",
        "flyteray get run r0123456789ab --tree",
    ),
)
@click.argument("name", required=False)
@click.option("--tree", is_flag=True, help="The actions of a run below those that have called them.")
@click.option("--task-name", help="Only runs of this task, by its full name: environment.function.")
@click.option("--task-version", help="Only runs of this version of a task.")
@_phases
@options.accepted("--only-mine", is_flag=True, instead="Who has started a run is not recorded.")
@click.option("--paused-only", is_flag=True, help="Only runs that wait for a condition.")
@click.option("--with-label", multiple=True, metavar="KEY=VALUE", help="Only runs with this label.")
@click.option("--with-label-key", multiple=True, metavar="KEY", help="Only runs with a label of this name.")
@_when("--created-after", "asked for from")
@_when("--created-before", "asked for before")
@_when("--updated-after", "that have changed from")
@_when("--updated-before", "that have changed before")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get_runs(name: str | None, tree: bool, limit: int, output: printing.Output, **asked: Any) -> None:
    """The runs, newest first, or one of them with its actions.

    In the tree of a run many actions of one group or task are one line, which counts them.
    """
    if tree and name is None:
        raise click.UsageError("--tree is of one run: name it.")
    require_cluster()
    if tree and name is not None:
        _show_tree(name, output)
        return
    if name is not None:
        _show(Run.get(name), output)
        return
    task = asked["task_name"]
    found = Run.listall(
        in_phase=asked["in_phase"],
        task_name=task,
        task_version=asked["task_version"],
        limit=limit,
        created_at=TimeFilter(asked["created_after"], asked["created_before"]),
        updated_at=TimeFilter(asked["updated_after"], asked["updated_before"]),
        with_labels=printing.pairs("--with-label", asked["with_label"]),
        with_label_keys=list(asked["with_label_key"]),
        paused_actions_only=asked["paused_only"],
    )
    if task is not None and not found:
        known = {run.info.task for run in Run.listall(limit=1000)}
        if task not in known:
            printing.note(f"There is no run of a task {task!r}.{did_you_mean(task, known)}")
    labels = ("labels",) if any(run.info.labels for run in found) else ()
    columns = (
        "name",
        "task",
        "phase",
        "created_at",
        "seconds",
        *labels,
        *_further([run.info for run in found]),
    )
    printing.rows([_run(run.info) for run in found], output, columns)


@click.command(
    name="action",
    epilog=printing.examples(
        "flyteray get action r0123456789ab", "flyteray get action r0123456789ab a0 -o json"
    ),
)
@click.argument("run")
@click.argument("action", required=False)
@_phases
@printing.output_option
def get_actions(run: str, action: str | None, in_phase: tuple[str, ...], output: printing.Output) -> None:
    """The actions of a run, or one of them with its attempts and phases."""
    require_cluster()
    if action is None:
        found = [each.info for each in Action.listall(for_run_name=run, in_phase=in_phase)]
        printing.rows([_action(info) for info in found], output, (*_OF_ACTIONS, *_further(found)))
        return
    with failures.users_code():
        details = ActionDetails.get(run_name=run, name=action)
    phases = [
        {"phase": str(each.phase), "start_time": each.start_time, "end_time": each.end_time}
        for each in details.get_phase_transitions()
    ]
    attempts = [to_json(each) for each in details.attempt_list]
    facts = _action(details.info)
    if output == "json":
        printing.record({**facts, "attempt_list": attempts, "phases": phases}, output)
        return
    printing.record(facts, output)
    print()
    printing.rows(phases, output, ("phase", "start_time", "end_time"))
    if len(attempts) > 1:
        print()
        printing.rows(attempts, output, ("attempt", "phase", "started_at", "ended_at", "error"))


@click.command(
    name="io",
    cls=printing.also("--outputs-only"),
    epilog=printing.examples("flyteray get io r0123456789ab", "flyteray get io r0123456789ab a0 -o json"),
)
@click.argument("run")
@click.argument("action", default="a0")
@click.option("-i", "--inputs-only", is_flag=True, help="Leave out the outputs.")
@click.option(
    "--outputs-only", is_flag=True, help="Leave out the inputs. So does -o with no form of results behind it."
)
@printing.output_option
def get_io(run: str, action: str, inputs_only: bool, outputs_only: bool, output: printing.Output) -> None:
    """The inputs and the outputs of an action of a run; the run's task is action a0.

    An action that has not succeeded has no outputs.
    """
    require_cluster()
    if inputs_only and outputs_only:
        raise click.UsageError("--inputs-only and --outputs-only leave nothing to show.")
    with failures.users_code():
        details = ActionDetails.get(run_name=run, name=action)
        facts: dict[str, Any] = {}
        if not outputs_only:
            facts["inputs"] = dict(details.inputs())
        if not inputs_only:
            ended_well = details.phase in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED)
            facts["outputs"] = details.outputs().named_outputs if ended_well else None
    if output == "json":
        printing.record(facts, output)
        return
    if facts.get("outputs", ()) is None:
        printing.note(f"Action {action!r} of run {run!r} is {details.phase}, so it has no outputs.")
    shown = {
        f"{what} {name}": safe_repr(value)
        for what, each in facts.items()
        for name, value in (each or {}).items()
    }
    printing.record(shown, output)


@click.command(
    name="code",
    cls=printing.also("--output-dir"),
    epilog=printing.examples("flyteray get code r0123456789ab", "flyteray get code r0123456789ab -o code"),
)
@click.argument("run")
@click.argument("action", required=False)
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder to put it into; one with the run's name by default. -o says it as well.",
)
@click.option("--no-extract", is_flag=True, help="Leave it the zip file that it is.")
@options.accepted("-a", "--attempt", type=int, instead="All attempts have the same code.")
@printing.output_option
def get_code(
    run: str, action: str | None, output_dir: Path | None, no_extract: bool, output: printing.Output
) -> None:
    """Fetch the code that was shipped for a run. Its actions have the same, but for those of deployed tasks."""
    require_cluster()
    with failures.users_code():
        if action is not None:
            Action.get(run_name=run, name=action)  # says which there are
        path = Run.get(run).download_code(output_dir, extract=not no_extract)
    if output == "json":
        printing.record({"run": run, "path": str(path)}, output)
    else:
        click.echo(path)


@click.command(name="run", epilog=printing.examples("flyteray delete run r0123456789ab"))
@click.argument("name")
@printing.output_option
def delete_run(name: str, output: printing.Output) -> None:
    """Delete a run that has ended: its records, logs, inputs, outputs and the files that it has made.

    One that an app, an artifact or another run needs stays. FLYTERAY_RETENTION_DAYS has old runs deleted.
    """
    require_cluster()
    Run.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"Run {name} is deleted.")


def _show(run: Run, output: printing.Output) -> None:
    """One run, its actions and its notifications."""
    infos, notices = run.actions(), [to_json(each) for each in run.notifications()]
    actions = [_action(action) for action in infos]
    if output == "json":
        printing.record({**_run(run.info), "actions": actions, "notifications": notices}, output)
        return
    printing.record(_run(run.info), output)
    print()
    printing.rows(actions, output, (*_OF_ACTIONS, *_further(infos)))
    if notices:
        print()
        printing.rows(notices, output, ("kind", "tries", "sent_at", "error", "next_try_at"))


def _show_tree(name: str, output: printing.Output) -> None:
    found = run_blocking(fetch(name, _IN_THE_TREE))
    if output == "json":
        printing.record({"run": name, "tree": None if found is None else to_json(found)}, output)
    elif found is None:
        printing.note(f"Nothing of run {name!r} has begun yet.")
    else:
        printing.drawing(drawn(found))


def _further(infos: Sequence[RunInfo | ActionInfo]) -> list[str]:
    """The columns for groups, what they wait for, whose results they have, and links, where there are some."""
    further = "group", "waiting", "cached", "links"
    return [name for name in further if any(getattr(info, name, None) for info in infos)]


def _run(info: RunInfo) -> dict[str, Any]:
    facts = info.model_dump()
    facts["phase"] = str(info.phase)
    facts["error"] = f"{info.error.code}: {info.error.message}" if info.error else None
    facts["seconds"] = _seconds(info.started_at, info.ended_at)
    return facts


def _action(info: ActionInfo) -> dict[str, Any]:
    seconds = _seconds(info.started_at, info.ended_at)
    return info.model_dump() | {"phase": str(info.phase), "seconds": seconds}


def _seconds(began: datetime | None, ended: datetime | None) -> float | None:
    return round((ended - began).total_seconds(), 2) if began and ended else None
