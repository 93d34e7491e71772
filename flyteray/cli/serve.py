"""``flyteray serve``."""

from __future__ import annotations

import rich_click as click
from rich.console import Console

from flyteray._client.serve import serve as serve_app
from flyteray._plan import code
from flyteray._plan.spec import to_json
from flyteray.app.environment import AppEnvironment
from flyteray.cli import failures, printing
from flyteray.cli.examples import examples


@click.command(epilog=examples("flyteray serve app.py env", "flyteray serve -o json app.py env"))
@printing.output_option
@click.argument("file")
@click.argument("env")
def serve(file: str, env: str, output: printing.Output) -> None:
    """Serve an app of a file.

    ENV is the name of the variable that holds the AppEnvironment. Returns when the app takes requests; it stays up
    until `flyteray delete app`. Serving again replaces the version that runs, without losing a request.
    """
    with failures.users_code():
        found = code.lookup(code.load_file(file), env, AppEnvironment)
        with Console(stderr=True).status(f"Serving {found.name} …"):
            app = serve_app(found)
    shown = ["name", "phase", "url", "endpoint", "version", "revision"]
    printing.record(to_json(app.info), output, shown)
