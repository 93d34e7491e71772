"""The command's root lists the verbs; a verb's module is imported when it is used."""

from __future__ import annotations

import importlib

import rich_click as click

from flyteray.cli import failures, options

_VERBS = {
    "up": "Start the local cluster, or flyteray on the cluster that RAY_ADDRESS names.",
    "down": "End the local cluster and all that runs on it.",
    "status": "Say what runs where.",
    "env": "Print what a shell needs for plain Ray to use the local cluster.",
    "run": "Run a task of a file.",
    "rerun": "Run again what a run has run, or the rest of it.",
    "serve": "Serve an app of a file.",
    "deploy": "Deploy tasks and apps, to be used by name.",
    "build": "Build the images of a file's environments.",
    "export": "Write an app as manifests for Kubernetes.",
    "create": "Keep a secret, make a key for apps, a trigger of a task or a configuration file.",
    "get": "Show runs, actions, tasks, apps, logs, reports, triggers, kept results, secrets, keys, configuration.",
    "logs": "Show what a run or an app writes.",
    "top": "Show what is asked of apps at the moment.",
    "update": "Start or stop an app, divide its requests among its versions, or switch a trigger on or off.",
    "signal": "Answer a condition that a run waits for.",
    "abort": "End a run, or an action of one.",
    "whoami": "Say who you are to flyteray.",
    "delete": "Delete a run, an app, a secret, a key, a trigger or kept results.",
}
_MODULES = {
    "abort": "delete",
    "build": "deploy",
    "down": "up",
    "signal": "update",
    "top": "status",
    "whoami": "status",
}  # where the verb has none of its own name
_STARTS = ("run", "rerun", "serve", "deploy")  # something that has an owner
_OF_RAY = ("up", "down", "status", "env", "export", "top")  # Flyte has no such verbs
_ELSEWHERE = {
    "edit": "What is set is in environment variables and in a configuration file: `flyteray get config` shows it.",
    "gen": "`flyteray VERB --help` tells of each verb.",
    "prefetch": "Have a task fetch the model and return it as a Dir, which apps take as RunOutput.",
    "proxy": "Apps have addresses: `flyteray get app NAME`. `flyteray create key` makes a key for those that ask.",
    "start": "`flyteray up` starts a local cluster; `flyteray get run NAME --tree` draws what runs.",
    "stop": "`flyteray down` ends the local cluster.",
}
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


class Root(options.Nouns):
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
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and command is not None:
            command = getattr(importlib.import_module(f"flyteray.cli.verbs.{_MODULES.get(name, name)}"), name)
            if name not in _OF_RAY:
                options.with_owner(command, heard=name in _STARTS)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb."""
        with failures.explained(), failures.noted():
            return super().invoke(ctx)


@click.group(
    cls=Root, elsewhere=_ELSEWHERE, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="flyteray", message="flyteray %(version)s")
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    help="A configuration file of Flyte. Default: the first one of config.yaml, .flyte/config.yaml and the rest of "
    "the places where Flyte looks.",
)
@click.option(
    "-of",
    "--output-format",
    type=click.Choice(options.FORMATS, case_sensitive=False),
    callback=options.keep_format,
    expose_value=False,
    help="How results are printed, as -o of the verbs. Those that are -raw and -simple are here as those without.",
)
@click.option(
    "-v",
    "--verbose",
    count=True,
    help="Show whole tracebacks; -vv what flyteray logs at INFO, -vvv at DEBUG.",
)
@click.option("--org", help="What ctx() tells what is started as its org.")
@click.option("--log-level", metavar="LEVEL", help="Of flyteray itself, such as INFO. Default: LOG_LEVEL.")
@click.option("--user-log-level", metavar="LEVEL", help="Of flyteray.logger. Default: USER_LOG_LEVEL.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"], case_sensitive=False),
    help="Lines for people or JSON. Default: LOG_FORMAT.",
)
@click.option("--reset-root-logger", is_flag=True, help="Give the root logger flyteray's form and level.")
@click.option("--no-progress", is_flag=True, help="Show no progress while something is waited for.")
@options.accepted("--endpoint", instead="RAY_ADDRESS names a cluster.")
@options.accepted("--insecure", is_flag=True)
@options.accepted("--auth-type")
@options.accepted("--builder", "--image-builder", instead="The nodes of the cluster make images ready.")
@click.pass_context
def flyteray(ctx: click.RichContext, /, **_: object) -> None:
    """Train and serve on Ray in plain Python."""
    options.log_levels(ctx)
