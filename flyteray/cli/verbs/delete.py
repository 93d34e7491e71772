"""``flyteray delete`` deletes an app, a secret or a key."""

from __future__ import annotations

import rich_click as click

from flyteray.cli import printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.remote import App, Key, Secret


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
