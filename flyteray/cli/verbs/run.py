"""``flyteray run`` runs a task of a file."""

from __future__ import annotations

from typing import Any

import rich_click as click
from click import get_current_context
from click.core import ParameterSource
from click.exceptions import Exit

from flyteray._client.local.run import LocalRun
from flyteray._client.runs.handle import Run
from flyteray._client.runs.remote_task import RemoteTask, TaskDetails
from flyteray._client.runs.run import RunContext
from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import code
from flyteray._plan.values.text import safe_repr
from flyteray.cli import failures, inputs, printing, shipping
from flyteray.cli.verbs.status import require_cluster

_EPILOG = printing.examples(
    "flyteray run train.py train --rounds 10",
    "flyteray run train.py train --help",
    "flyteray run --local train.py train --rounds 1",
    "flyteray run --no-wait --name nightly train.py train",
    "flyteray run deployed-task env.train:v2 --rounds 10",
)
_DEPLOYED = "deployed-task"  # in the place of a file
_FLAGS = ("local", "wait", "name", "output", *shipping.NAMES)


@click.command(
    epilog=_EPILOG, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--local", is_flag=True, help="Run in this process, without Ray: for debuggers.")
@click.option(
    "--wait/--no-wait", default=True, help="Wait and print the outputs, or print the run's name at once."
)
@click.option("--name", help="The run's name; a random one by default.")
@shipping.options
@printing.output_option
@click.argument("file")
@click.argument("task")
@click.argument("task_inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
def run(file: str, task: str, task_inputs: tuple[str, ...], **flags: Any) -> None:
    """Run a task of a file.

    TASK is the name of the function. Its inputs are options: `flyteray run FILE TASK --help` lists them. Lists,
    dicts, dataclasses and models are JSON, or the path of a JSON or YAML file; files and folders are their paths.
    `flyteray run deployed-task ENV.TASK[:VERSION]` runs a task that was deployed.
    """
    ctx = get_current_context()
    if file.startswith("-"):  # options that are unknown may be inputs, but behind the task only
        raise click.NoSuchOption(file, ctx=ctx)
    with failures.users_code():
        found: Task[..., Any] | TaskDetails
        if file == _DEPLOYED:
            found = _deployed(task)
            taken = inputs.Inputs.of_deployed(found.info.plan)
        else:
            found = code.lookup(shipping.load_file(file, flags["root_dir"]), task, Task)  # type: ignore[type-abstract]
            taken = inputs.Inputs.of(found)
    names = {option.name for option in taken.options if option.name}
    command = taken.command(
        *(option for option in ctx.command.params if option.name in _FLAGS),
        name="run",
        callback=lambda **values: _run(
            found, taken.completed(_given(values, names)), flags | _given(values, set(flags) - names)
        ),
        help=found.docs or f"Run {found.name}.",
    )
    with command.make_context(f"run {file} {task}", list(task_inputs), parent=ctx.parent) as inner:
        command.invoke(inner)


def _deployed(task: str) -> TaskDetails:
    require_cluster()
    name, _, version = task.partition(":")
    handle = RemoteTask.get(name, version=version) if version else RemoteTask.get(name, auto_version="latest")
    return handle.fetch()


def _given(values: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The values that were said; defaults are left to the function."""
    ctx = get_current_context()
    return {
        name: value
        for name, value in values.items()
        if name in names and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }


def _with_files(arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        return {name: inputs.local_files_sent(value) for name, value in arguments.items()}
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _note_report(run: Run | LocalRun) -> None:
    """Say how the report of a run is read."""
    if isinstance(run, LocalRun):
        printing.note(f"Its report: {run.report_file()}")
    else:
        printing.note(f"`flyteray get report {run.name} --open` shows its report.")


def _run(task: Task[..., Any] | TaskDetails, arguments: dict[str, Any], flags: dict[str, Any]) -> None:
    output: printing.Output = flags["output"]
    shipped = {name: flags[name] for name in shipping.NAMES}
    try:
        context = RunContext("local" if flags["local"] else "remote", name=flags["name"], **shipped)
        if isinstance(task, TaskDetails):
            context.check_deployed(task.name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with failures.users_code():
        if not flags["local"]:
            arguments = _with_files(arguments)
        started = context.run(task, **arguments)
    facts = {"run": started.name, "task": task.name}
    if not flags["wait"] and not flags["local"]:
        printing.record({**facts, "phase": str(started.info.phase)}, output)
        printing.note(f"`flyteray get run {started.name}` shows how it goes.")
        return
    if not flags["local"]:
        printing.note(f"Run {started.name} of {task.name} has started.")
    try:
        started.wait()
    except KeyboardInterrupt:
        printing.note(f"Run {started.name} goes on; `flyteray abort run {started.name}` ends it.")
        raise Exit(failures.INTERRUPTED) from None
    phase = str(started.phase)
    if isinstance(task, Task) and task.report:
        _note_report(started)
    try:
        with failures.users_code():
            started.raise_for_status()
            outputs = started.outputs()
    except Exit:
        if output == "json":
            printing.record({**facts, "phase": phase, "outputs": None}, output)
        raise
    if output == "json":
        printing.record({**facts, "phase": phase, "outputs": list(outputs)}, output)
    else:
        named = {name: safe_repr(value) for name, value in outputs.named_outputs.items()}
        printing.record({**facts, "phase": phase, **named}, output)
