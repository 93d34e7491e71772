"""The verbs that start a run share options, and wait for it alike."""

from __future__ import annotations

import rich_click as click
from click.exceptions import Exit

from flyteray._client.runs.handle import Run
from flyteray._client.runs.local import LocalRun
from flyteray._plan.values.outputs import ActionOutputs
from flyteray._plan.values.text import safe_repr
from flyteray.cli import failures, options, printing
from flyteray.errors import OutputNotFoundError

common = options.together(
    click.option(
        "--wait/--no-wait", default=True, help="Wait until it has ended, or print the run's name at once."
    ),
    click.option("--name", help="The run's name; a random one by default."),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _, __, given: printing.pairs("--label", given),
        help="By which it is found; can be given several times.",
    ),
    click.option(
        "-e",
        "--env",
        "env_vars",
        multiple=True,
        metavar="KEY=VALUE",
        callback=lambda _, __, given: printing.pairs("--env", given) or None,
        help="An environment variable of all its tasks; can be given several times.",
    ),
    click.option(
        "--logs/--no-logs",
        "-f/ ",
        "--follow/ ",
        "logs",
        default=None,
        help="Show on stderr what the tasks write while it is waited for. Default: where that is a terminal.",
    ),
)


def await_end(run: Run | LocalRun, logs: bool | None) -> None:
    """Wait until a run has ended, well or not; Ctrl+C ends the wait, and the command."""
    try:
        run.wait(logs=logs, quiet=not options.shows_progress())
    except KeyboardInterrupt:
        raise Exit(failures.INTERRUPTED) from None


def show_end(run: Run | LocalRun, facts: dict[str, str], output: printing.Output) -> None:
    """Print how a run has ended, with its outputs where they can be read here; its error ends the command."""
    facts = {**facts, "phase": str(run.phase)}
    try:
        with failures.users_code():
            run.raise_for_status()
            outputs = _outputs(run)
    except Exit:
        if output == "json":
            printing.record({**facts, "outputs": None}, output)
        raise
    if output == "json":
        printing.record({**facts, "outputs": None if outputs is None else list(outputs)}, output)
    else:
        named = outputs.named_outputs if outputs is not None else {}
        printing.record({**facts, **{name: safe_repr(value) for name, value in named.items()}}, output)


def _outputs(run: Run | LocalRun) -> ActionOutputs | None:
    try:
        return run.outputs()
    except OutputNotFoundError as error:  # of a class that this command has not loaded
        printing.note(str(error))
        return None
