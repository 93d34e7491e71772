"""``flyteray delete`` deletes an app, a secret or a key; ``flyteray abort`` ends a run."""

from __future__ import annotations

import rich_click as click

from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Key, Run, Secret


@click.group(epilog=printing.examples("flyteray delete app hello"))
def delete() -> None:
    """Delete an app, a secret or a key."""


@delete.command(name="app", epilog=printing.examples("flyteray delete app hello"))
@click.argument("name")
@printing.output_option
def app(name: str, output: printing.Output) -> None:
    """Stop an app and forget it; what is in flight may end first."""
    require_cluster()
    App.get(name)  # says which apps there are when there is no such one
    App.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"App {name} is deleted.")


@delete.command(name="secret", epilog=printing.examples("flyteray delete secret OPENAI_API_KEY"))
@click.argument("name")
@printing.output_option
def secret(name: str, output: printing.Output) -> None:
    """Forget a secret; processes that were given it keep it."""
    Secret.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"Secret {name} is deleted.")


@delete.command(name="key", epilog=printing.examples("flyteray delete key alice"))
@click.argument("name")
@printing.output_option
def key(name: str, output: printing.Output) -> None:
    """Answer no more requests with a key; WebSockets and answers that are under way go on."""
    Key.delete(name)
    printing.confirm({"name": name, "deleted": True}, output, f"Key {name} is deleted.")


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
