"""``flyteray serve`` serves an app of a file."""

from __future__ import annotations

import json
from typing import Any

import rich_click as click
from click.exceptions import Exit
from rich.console import Console

from flyteray._client.apps.app import App
from flyteray._client.apps.handle import AppHandle
from flyteray._client.apps.serve import with_servecontext
from flyteray._plan.bundle import code
from flyteray.app.environment import AppEnvironment
from flyteray.cli import failures, printing, shipping

_EPILOG = printing.examples(
    "flyteray serve app.py env",
    "flyteray serve --local app.py env",
    "flyteray serve -e LEVEL=debug --follow app.py env",
    "flyteray serve -o json app.py env",
)
_SHOWN = ["name", "phase", "url", "endpoint", "version", "revision"]


def _variables(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE.")
    return {name: value for name, _, value in pairs}


@click.command(epilog=_EPILOG)
@click.option("--local", is_flag=True, help="Serve beside this command, without Ray, until Ctrl+C.")
@click.option(
    "-e",
    "--env-var",
    "env_vars",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_variables,
    help="An environment variable of the app; may be repeated.",
)
@click.option(
    "-f", "--follow", is_flag=True, help="Show what the app writes, until Ctrl+C or until it is stopped."
)
@shipping.options
@printing.output_option
@click.argument("file")
@click.argument("env")
def serve(file: str, env: str, local: bool, follow: bool, output: printing.Output, **options: Any) -> None:
    """Serve an app of a file.

    ENV is the name of the variable that holds the AppEnvironment. Returns when the app takes requests; it stays up
    until `flyteray delete app`. Serving again replaces the version that runs, without losing a request.
    """
    shipping.shipping(*(options[name] for name in shipping.NAMES))  # refused before anything is imported
    with failures.users_code():
        found = code.lookup(shipping.load_file(file, options["root_dir"]), env, AppEnvironment)
        context = with_servecontext(mode="local" if local else "remote", **options)
        try:
            with Console(stderr=True).status(f"Serving {found.name} …"):
                app = context.serve(found)
        except KeyboardInterrupt:
            printing.note(
                f"App {found.name} is stopped."
                if local
                else f"App {found.name} may still come up; `flyteray delete app {found.name}` ends it."
            )
            raise Exit(failures.INTERRUPTED) from None
    printing.record(_facts(app), output, _SHOWN)
    if local:
        _until_interrupted(app)
    elif follow:
        try:
            app.show_logs()
        except KeyboardInterrupt:
            printing.note(f"App {app.name} goes on; `flyteray delete app {app.name}` ends it.")
            raise Exit(failures.INTERRUPTED) from None


def _facts(app: AppHandle) -> dict[str, Any]:
    if isinstance(app, App):
        facts: dict[str, Any] = json.loads(app.to_json())
        return facts
    return {
        "name": app.name,
        "phase": str(app.deployment_status),
        "url": app.url,
        "endpoint": app.endpoint,
        "revision": app.revision,
    }


def _until_interrupted(app: AppHandle) -> None:
    """Return when the app was stopped by Ctrl+C; leave with a failure when it ended by itself."""
    try:
        printing.note("Its output is shown here; Ctrl+C stops it.")
        app.watch(wait_for="deactivated")
    except KeyboardInterrupt:
        app.deactivate(wait=True)
        printing.note(f"App {app.name} is stopped.")
        return
    printing.note(f"App {app.name} has ended by itself.")
    raise Exit(failures.FAILED)
