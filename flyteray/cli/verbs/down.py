"""``flyteray down``."""

from __future__ import annotations

import rich_click as click

from flyteray._cluster import local
from flyteray._settings import Settings
from flyteray.cli import printing
from flyteray.cli.examples import examples


@click.command(epilog=examples("flyteray down"))
@printing.output_option
def down(output: printing.Output) -> None:
    """End the local cluster and all that runs on it.

    Runs in progress are lost. The history, the outputs and the apps' definitions stay in storage: after the next
    `flyteray up` the apps come back.
    """
    stopped = local.stop(Settings.load())
    if output == "json":
        printing.record({"stopped": stopped}, output)
    else:
        printing.note("The local cluster has ended." if stopped else "No local cluster runs.")
