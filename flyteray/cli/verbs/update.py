"""``flyteray update`` starts or stops an app."""

from __future__ import annotations

import rich_click as click

from flyteray._plan.info import to_json
from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App


@click.group(
    epilog=printing.examples(
        "flyteray update app hello --deactivate", "flyteray update app hello --activate --wait"
    )
)
def update() -> None:
    """Start or stop an app."""


@update.command(name="app", epilog=printing.examples("flyteray update app hello --deactivate --wait"))
@click.argument("name")
@click.option("--activate/--deactivate", default=None, help="Start it, or stop it; one of them must be said.")
@click.option("--wait", is_flag=True, help="Return when it serves, or when its replicas have ended.")
@printing.output_option
def app(name: str, activate: bool | None, wait: bool, output: printing.Output) -> None:
    """Start an app that was stopped, or stop one; its name and versions stay."""
    if activate is None:
        raise click.UsageError("Say --activate or --deactivate.")
    require_cluster()
    handle = App.get(name)
    if activate:
        handle.activate(wait=wait)
    else:
        handle.deactivate(wait=wait)
    handle.sync()
    printing.record(to_json(handle.info), output, ["name", "phase", "desired", "url", "version"])
