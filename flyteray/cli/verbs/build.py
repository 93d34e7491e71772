"""``flyteray build`` builds the images of a file's environments."""

from __future__ import annotations

import rich_click as click
from rich.console import Console

from flyteray._client.build import build_images
from flyteray._declare.environment import Environment
from flyteray._plan.bundle import code
from flyteray.cli import failures, printing, shipping


@click.command(epilog=printing.examples("flyteray build train.py", "flyteray build train.py env"))
@shipping.as_flyte_option
@printing.output_option
@click.argument("file")
@click.argument("env", required=False)
def build(file: str, env: str | None, output: printing.Output) -> None:
    """Build the images of a file's environments on every node, so that nothing waits for them later.

    ENV is the name of the variable that holds a TaskEnvironment or AppEnvironment; without it, all of the file's are
    built. What is built already costs nothing.
    """
    with failures.users_code():
        module = shipping.load_file(file)
        found = [value for value in vars(module).values() if isinstance(value, Environment)]
        if env is not None:
            found = [code.lookup(module, env, Environment)]
        if not found:
            raise click.UsageError(f"{file} has no environments, so there is nothing to build.")
        with Console(stderr=True).status("Building " + ", ".join(each.name for each in found) + " …"):
            built = build_images(*found)
    printing.record(dict(built.images), output)
