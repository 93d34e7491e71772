"""``flyteray run`` runs a task of a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from flyteray._client.runs.handle import Run
from flyteray._client.runs.local import LocalRun
from flyteray._client.runs.remote_task import RemoteTask, TaskDetails
from flyteray._client.runs.run import RunContext
from flyteray._declare.options.documentation import Documentation
from flyteray._declare.tasks.task import Task
from flyteray._plan.bundle import code
from flyteray.cli import failures, inputs, listing, options, printing, running, shipping
from flyteray.cli.verbs.status import require_cluster
from flyteray.errors import ModuleLoadError

_EPILOG = printing.examples(
    "flyteray run train.py train --rounds 10",
    "flyteray run train.py train --help",
    "flyteray run --local train.py train --rounds 1",
    "flyteray run --no-wait --name nightly train.py train",
    "flyteray run deployed-task env.train:v2 --rounds 10",
)
_DEPLOYED = "deployed-task"  # in the place of a file
_SHOWN = 1000  # deployed tasks
_ELSEWHERE = {  # Flyte has these in the place of a file
    "hello": "Write a file with a task in it: the README begins with one.",
    "python-script": "Call what is in the script from a task, or run it as it is: `python SCRIPT`.",
}
_OF_RUNS = (
    "name",
    "labels",
    "env_vars",
    "raw_data_path",
    "max_action_concurrency",
    "tracked",
    "tracked_strict",
)
_FLAGS = (
    "local",
    "wait",
    "logs",
    "output",
    "output_format",
    "json",
    *_OF_RUNS,
    *shipping.NAMES,
)  # behind the task too


@click.command(
    epilog=_EPILOG, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.option("--local", is_flag=True, help="Run in this process, without Ray: for debuggers.")
@running.common
@click.option(
    "--raw-data-path", help="Where the files go that its tasks make: a URL, or a folder that all nodes share."
)
@click.option(
    "--max-action-concurrency",
    type=int,
    metavar="NUMBER",
    help="The most actions of it that run at one time, 2 or more; 0: as many as there is room for.",
)
@click.option("--tracked", is_flag=True, hidden=True)
@click.option("--tracked-strict", is_flag=True, hidden=True)
@options.accepted("--queue")
@options.accepted("--service-account")
@options.accepted("--debug", is_flag=True, instead="--local runs in this process, for its debuggers.")
@options.accepted(
    "--tui", is_flag=True, instead="A terminal shows the tree of actions as it grows in any case."
)
@options.accepted("--run-project", instead="-p says whose it is.")
@options.accepted("--run-domain", instead="-d says whose it is.")
@shipping.options
@shipping.image_option
@printing.output_option
@click.argument("file")
@click.argument("task", required=False)
@click.argument("task_inputs", nargs=-1, type=click.UNPROCESSED, metavar="[--INPUT VALUE]...")
def run(file: str, task: str | None, task_inputs: tuple[str, ...], **flags: Any) -> None:
    """Run a task of a file.

    TASK is the name of the function; `flyteray run FILE` lists those that there are. Its inputs are options:
    `flyteray run FILE TASK --help` lists them. Lists, dicts, dataclasses and models are JSON, or the path of a JSON or
    YAML file; files and folders are their paths. `flyteray run deployed-task ENV.TASK[:VERSION]` runs a task that was
    deployed. Options of Flyte's that mean nothing on Ray, such as --queue, are taken and say so.
    """
    ctx = get_current_context()
    if file.startswith("-"):  # options that are unknown may be inputs, but behind the task only
        raise click.NoSuchOption(file, ctx=ctx)
    if file in _ELSEWHERE and not Path(file).exists():
        raise click.UsageError(f"`flyteray run` has no {file!r}. {_ELSEWHERE[file]}")
    with failures.users_code():
        if task is None or task in ctx.help_option_names:
            _list(file, flags["root_dir"], asked=task is not None)
        if task.startswith("-"):
            raise click.UsageError(f"Put {task} before the file, or if it is an input, behind the task.")
        found: Task[..., Any] | TaskDetails
        if file == _DEPLOYED:
            found = _deployed(task)
            taken = inputs.Inputs.of_deployed(found.info.plan)
        else:
            found = code.lookup(shipping.load_file(file, flags["root_dir"]), task, Task)  # type: ignore[type-abstract]
            taken = inputs.Inputs.of(found)
    command = taken.command(
        *(option for option in ctx.command.params if option.name in _FLAGS),
        name="run",
        callback=lambda **values: _run(
            found,
            taken.completed({name: values[name] for name in _said(taken.names)}),
            flags
            | {name: values[inputs.flag(name)] for name in flags if _said([inputs.flag(name)])}
            | {"output": printing.form()},
        ),
        help=Documentation(found.docs).summary or f"Run {found.name}.",
    )
    try:
        inner = command.make_context(f"run {file} {task}", list(task_inputs), parent=ctx.parent)
    except click.NoSuchOption as error:
        if any(error.option_name in param.opts for param in ctx.command.params):
            raise click.UsageError(f"Put {error.option_name} before the file, not behind the task.") from None
        raise
    with inner:
        command.invoke(inner)


def _list(file: str, root_dir: Path | None, asked: bool) -> NoReturn:
    """Show the tasks of a file, or those that are deployed, and leave."""
    if file == _DEPLOYED:
        require_cluster()
        found = {each.name: Documentation(each.docs).summary for each in RemoteTask.listall(limit=_SHOWN)}
        about = "Run a task that was deployed, its newest version or the one that is named."
    else:
        module = shipping.load_file(file, root_dir)
        tasks = {name: each for name, each in vars(module).items() if isinstance(each, Task)}
        if not tasks:
            raise ModuleLoadError(f"There is no task in {file!r}: decorate a function with @env.task.")
        found = {name: each.docs.summary for name, each in tasks.items()}
        about = module.__doc__ or f"Run a task of {file}."
    listing.show("run", file, found, about, "task", asked=asked, more="[--INPUT VALUE]...")


def _deployed(task: str) -> TaskDetails:
    shipping.refuse_images()
    require_cluster()
    shipping.configure()
    name, _, version = task.partition(":")
    handle = RemoteTask.get(name, version=version) if version else RemoteTask.get(name, auto_version="latest")
    return handle.fetch()


def _said(names: Iterable[str]) -> list[str]:
    """Those that were said; defaults are left to the function."""
    ctx = get_current_context()
    return [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]


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
        context = RunContext(
            "local" if flags["local"] else "remote", **{name: flags[name] for name in _OF_RUNS}, **shipped
        )
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
    running.await_end(started, flags["logs"])
    if isinstance(task, Task) and task.report:
        _note_report(started)
    running.show_end(started, facts, output)
