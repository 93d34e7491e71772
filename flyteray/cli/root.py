"""The command's root lists the verbs; a verb's module is imported when it is used."""

from __future__ import annotations

import importlib

import rich_click as click

from flyteray._declare.near import did_you_mean
from flyteray.cli import failures

_VERBS = {
    "up": "Start the local cluster, or flyteray on the cluster that RAY_ADDRESS names.",
    "down": "End the local cluster and all that runs on it.",
    "status": "Say what runs where.",
    "env": "Print what a shell needs for plain Ray to use the local cluster.",
    "run": "Run a task of a file.",
    "serve": "Serve an app of a file.",
    "deploy": "Deploy tasks and apps, to be used by name.",
    "build": "Build the images of a file's environments.",
    "export": "Write an app as manifests for Kubernetes.",
    "create": "Keep a secret, or make a key for apps.",
    "get": "Show runs, tasks, apps, their logs and reports, secrets or keys.",
    "update": "Start or stop an app.",
    "abort": "End a run.",
    "delete": "Delete an app, a secret or a key.",
}
_MODULES = {"abort": "delete", "build": "deploy", "down": "up"}  # where the verb has none of its own name
_EXAMPLES = "\n\n".join(
    (
        "Examples:",
        "flyteray up",
        "flyteray run train.py train --rounds 10",
        "flyteray serve app.py env",
        "flyteray get run",
        "flyteray down",
    )
)


class Root(click.RichGroup):
    """The verbs in the order of the table; a failure of theirs is one paragraph and exit code 1."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the verbs."""
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb as far as the help needs it, not imported."""
        return click.RichCommand(name=cmd_name, help=_VERBS[cmd_name]) if cmd_name in _VERBS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that is asked for, imported."""
        if args and args[0] not in _VERBS and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}.{did_you_mean(args[0], _VERBS)}")
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = getattr(importlib.import_module(f"flyteray.cli.verbs.{_MODULES.get(name, name)}"), name)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        with failures.explained():
            return super().invoke(ctx)


@click.group(cls=Root, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flyteray", message="flyteray %(version)s")
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    help="A configuration file of Flyte. Default: the first one of config.yaml, .flyte/config.yaml and the rest of "
    "the places where Flyte looks.",
)
def flyteray(config: str | None) -> None:
    """Train and serve on Ray in plain Python."""
