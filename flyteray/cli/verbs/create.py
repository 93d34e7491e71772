"""``flyteray create`` keeps a secret, makes a key for apps, a trigger of a task or a configuration file."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from flyteray.cli import options, printing
from flyteray.cli.nouns.artifact import create as artifact
from flyteray.cli.nouns.config import create as config
from flyteray.cli.nouns.key import create as key
from flyteray.cli.nouns.trigger import create as trigger
from flyteray.remote import Secret

_SECRET = printing.examples(
    "flyteray create secret OPENAI_API_KEY",
    "flyteray create secret db/password --from-file password.txt",
    "printenv TOKEN | flyteray create secret TOKEN",
)
_PULLS = "Nodes pull images with credentials of their own."
_OF_REGISTRIES = options.together(
    *(
        options.accepted(name, instead=_PULLS)
        for name in ("--docker-config-path", "--registries", "--registry", "--username", "--password")
    ),
    options.accepted("--from-docker-config", is_flag=True, instead=_PULLS),
)
_ELSEWHERE = {
    "api-key": "`flyteray create key NAME` makes a key for apps that ask for one.",
    "project": "Ray has none: all runs and apps of a cluster are in one place.",
}


@click.group(
    cls=options.Nouns,
    elsewhere=_ELSEWHERE,
    epilog=printing.examples("flyteray create secret OPENAI_API_KEY", "flyteray create key alice"),
)
def create() -> None:
    """Keep a secret, make a key for apps, a trigger of a task or a configuration file."""


create.add_command(artifact)
create.add_command(trigger)
create.add_command(config)
create.add_command(key)


@create.command(name="secret", epilog=_SECRET)
@click.argument("name")
@click.option(
    "--value", help="Its value. Others on this machine can see it in the list of processes while this runs."
)
@click.option(
    "--from-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the value from a file as it is, text or not.",
)
@click.option("--type", "kind", type=click.Choice(["regular", "image_pull"]), default="regular", hidden=True)
@options.accepted("--cluster-pool")
@_OF_REGISTRIES
@printing.output_option
def secret(name: str, value: str | None, from_file: Path | None, kind: str, output: printing.Output) -> None:
    """Keep a secret for tasks and apps that ask for it; NAME is `key` or `group/key`.

    Without an option the value is asked for. A secret that there is already gets the new value.
    """
    if value is not None and from_file is not None:
        raise click.UsageError("--value and --from-file exclude each other: give one of them.")
    given: str | bytes
    if kind != "regular":
        given = ""  # refused
    elif from_file is not None:
        given = from_file.read_bytes()
    else:
        given = value if value is not None else click.prompt("Value", hide_input=True, err=True)
    try:
        handle = Secret.create(name, given, kind)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    facts = {"name": handle.name, "created_at": handle.created_at, "updated_at": handle.updated_at}
    printing.confirm(facts, output, f"Secret {name} is kept.")
