"""``flyteray serve`` serves an app of a file."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import rich_click as click
from click.exceptions import Exit

from flyteray._client.apps.app import App
from flyteray._client.apps.handle import AppHandle
from flyteray._client.apps.serve import with_servecontext
from flyteray._plan.bundle import code
from flyteray.app.environment import AppEnvironment
from flyteray.cli import failures, listing, options, printing, rollout, shipping
from flyteray.errors import ModuleLoadError

_EPILOG = printing.examples(
    "flyteray serve app.py env",
    "flyteray serve --local app.py env",
    "flyteray serve -e LEVEL=debug --follow app.py env",
    "flyteray serve --version v2 --canary 5,25,50 app.py env",
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
@options.accepted("--service-account")
@options.accepted("--name", instead="An app has the name of its environment.")
@rollout.options
@shipping.options
@shipping.image_option
@printing.output_option
@click.argument("file")
@click.argument("env", required=False)
def serve(
    file: str, env: str | None, local: bool, follow: bool, output: printing.Output, **settings: Any
) -> None:
    """Serve an app of a file.

    ENV is the name of the variable that holds the AppEnvironment; without it, those of the file are listed. Returns
    when the app takes requests; it stays up until `flyteray delete app`. Serving again replaces the version that runs,
    without losing a request.
    """
    if file == "hello" and not Path(file).exists():
        raise click.UsageError(
            "`flyteray serve` has no 'hello'. Write a file with an app in it: the README begins with one."
        )
    settings = rollout.rollout(settings)
    shipping.shipping(*(settings[name] for name in shipping.NAMES))  # refused before anything is imported
    with failures.users_code():
        module = shipping.load_file(file, settings["root_dir"])
        if env is None:
            _list(file, module)
        found = code.lookup(module, env, AppEnvironment)
        context = with_servecontext(mode="local" if local else "remote", **settings)
        try:
            with printing.busy(f"Serving {found.name}"):
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


def _list(file: str, module: ModuleType) -> NoReturn:
    """Show the apps of a file, and leave."""
    apps = {name: each for name, each in vars(module).items() if isinstance(each, AppEnvironment)}
    if not apps:
        raise ModuleLoadError(f"There is no AppEnvironment in {file!r}.")
    found = {name: each.description or f"App {each.name}." for name, each in apps.items()}
    listing.show("serve", file, found, module.__doc__ or f"Serve an app of {file}.", "app", asked=False)


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
