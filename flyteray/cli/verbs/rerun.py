"""``flyteray rerun`` runs again what a run has run."""

from __future__ import annotations

from typing import Any

import rich_click as click

from flyteray._client.runs.run import RunContext
from flyteray._plan.actions.names import ROOT
from flyteray._plan.values.parser import Text, document_text
from flyteray.cli import failures, printing, running, shipping
from flyteray.cli.verbs.status import require_cluster

_EPILOG = printing.examples(
    "flyteray rerun r0123456789ab",
    "flyteray rerun r0123456789ab --input rounds=20",
    "flyteray rerun r0123456789ab --recover",
    "flyteray rerun r0123456789ab --recover --force-rerun-action wfjhvztfch6ztami",
)


@click.command(epilog=_EPILOG)
@click.argument("run")
@click.option(
    "--input",
    "changed",
    metavar="NAME=VALUE",
    multiple=True,
    callback=lambda _, __, given: printing.pairs("--input", given),
    help="An input in place of the earlier one, written as for `flyteray run`; can be given several times.",
)
@click.option("--recover", is_flag=True, help="Do not run again what has succeeded.")
@click.option(
    "--action-name", metavar="ACTION", default=ROOT, help="Run again this action; a0 is the run's task."
)
@click.option(
    "--force-rerun-action", "again", metavar="ACTION", multiple=True, help="Run this one again all the same."
)
@click.option("--allow-missing-outputs", is_flag=True, help="Run again what is no longer kept.")
@running.common
@printing.output_option
def rerun(
    run: str,
    changed: dict[str, str],
    recover: bool,
    action_name: str,
    again: tuple[str, ...],
    allow_missing_outputs: bool,
    wait: bool,
    logs: bool | None,
    output: printing.Output,
    **settings: Any,
) -> None:
    """Run again what a run has run, with the same code and inputs, or with some of them changed.

    The cluster reads what is changed, so files are given by addresses that it knows.
    """
    require_cluster()
    shipping.configure()
    with failures.users_code():
        try:
            started = RunContext(**settings).rerun(
                run,
                action_name,
                recover=recover,
                force_rerun_actions=again,
                allow_missing_source_outputs=allow_missing_outputs,
                **{name: Text(document_text(value)) for name, value in changed.items()},
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    facts = {"run": started.name, "task": started.info.task, "source": run}
    if not wait:
        printing.record({**facts, "phase": str(started.phase)}, output)
        return
    printing.note(f"Run {started.name} of {started.info.task} has started.")
    running.await_end(started, logs)
    running.show_end(started, facts, output)
