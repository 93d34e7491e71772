"""``flyteray abort`` ends a run."""

from __future__ import annotations

import rich_click as click

from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import Run


@click.group(epilog=printing.examples("flyteray abort run r0123456789ab"))
def abort() -> None:
    """End a run."""


@abort.command(name="run", epilog=printing.examples('flyteray abort run r0123456789ab --reason "wrong data"'))
@click.argument("name")
@click.option(
    "--reason", default="Manually aborted from the CLI", show_default=True, help="Kept with the run."
)
@printing.output_option
def run(name: str, reason: str, output: printing.Output) -> None:
    """End a run and all of its actions; one that has ended stays as it is."""
    require_cluster()
    aborted = Run.get(name)
    aborted.abort(reason)
    printing.record({"run": name, "phase": str(aborted.phase)}, output)
