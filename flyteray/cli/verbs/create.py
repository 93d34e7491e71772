"""``flyteray create`` keeps a secret, or makes a key for apps."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from flyteray.cli import printing
from flyteray.remote import Key, Secret

_SECRET = printing.examples(
    "flyteray create secret OPENAI_API_KEY",
    "flyteray create secret db/password --from-file password.txt",
    "printenv TOKEN | flyteray create secret TOKEN",
)


@click.group(epilog=printing.examples("flyteray create secret OPENAI_API_KEY", "flyteray create key alice"))
def create() -> None:
    """Keep a secret, or make a key for apps."""


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
@printing.output_option
def secret(name: str, value: str | None, from_file: Path | None, output: printing.Output) -> None:
    """Keep a secret for tasks and apps that ask for it; NAME is `key` or `group/key`.

    Without an option the value is asked for. A secret that there is already gets the new value.
    """
    if value is not None and from_file is not None:
        raise click.UsageError("--value and --from-file exclude each other: give one of them.")
    given: str | bytes
    if from_file is not None:
        given = from_file.read_bytes()
    else:
        given = value if value is not None else click.prompt("Value", hide_input=True, err=True)
    try:
        handle = Secret.create(name, given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    facts = {"name": handle.name, "created_at": handle.created_at, "updated_at": handle.updated_at}
    printing.confirm(facts, output, f"Secret {name} is kept.")


@create.command(
    name="key", epilog=printing.examples("flyteray create key alice", "KEY=$(flyteray create key ci)")
)
@click.argument("name")
@printing.output_option
def key(name: str, output: printing.Output) -> None:
    """Make a key for apps that require auth, and print it this once; NAME says whose it is.

    It goes with each request as the header 'Authorization: Bearer KEY'. flyteray keeps only its SHA-256.
    """
    try:
        made = Key.create(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if output == "json":
        printing.record({"name": made.name, "key": made.value, "created_at": made.created_at}, output)
    else:
        print(made.value)
        printing.note(f"This is the key of {name}. It is not shown again: keep it safe.")
