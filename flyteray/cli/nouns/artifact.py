"""Artifacts of the command: versions of files, folders and tables are published, shown and forgotten by its verbs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import rich_click as click

from flyteray._declare.near import did_you_mean
from flyteray.cli import failures, options, printing
from flyteray.cli.verbs.status import require_cluster
from flyteray.io import Dir, File
from flyteray.io.artifacts import Kind
from flyteray.remote import Artifact

_COLUMNS = ("name", "version", "kind", "partitions", "run", "created_at", "place")

_narrower = options.together(
    click.option(
        "--partition",
        "partitions",
        metavar="KEY=VALUE",
        multiple=True,
        callback=lambda _, __, given: printing.pairs("--partition", given),
        help="The part that it is of all that has its name; can be given several times.",
    ),
    click.option("--kind", type=click.Choice(get_args(Kind)), help="What it is."),
)


@click.command(
    name="artifact",
    epilog=printing.examples("flyteray get artifact", "flyteray get artifact model v3 -o json"),
)
@click.argument("name", required=False)
@click.argument("version", required=False)
@_narrower
@click.option("--source-run", metavar="RUN", help="Only those that this run has made.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most that many.")
@printing.output_option
def get(name: str | None, version: str | None, output: printing.Output, **asked: Any) -> None:
    """The versions of artifacts, or of one, newest first; or one version, which may be `latest`."""
    require_cluster()
    if name is not None and version is not None:
        with failures.users_code():
            printing.record(_facts(Artifact.get(name, version)), output)
        return
    found = Artifact.listall(name, **asked)
    if name is not None and not found and name not in (there := Artifact.list_names()):
        printing.note(f"There is no artifact {name!r}.{did_you_mean(name, there)}")
    printing.rows([_facts(each) for each in found], output, _COLUMNS)


@click.command(
    name="artifact",
    epilog=printing.examples("flyteray create artifact model --from-file model.bin --kind model"),
)
@click.argument("name")
@click.option(
    "--from-file",
    "place",
    required=True,
    help="A file or folder here, which is copied to the cluster's storage, or the URL of one that all nodes reach.",
)
@click.option("--version", help="A random one by default.")
@click.option("--description", help="For people.")
@_narrower
@printing.output_option
def create(name: str, place: str, output: printing.Output, **said: Any) -> None:
    """Publish a file or folder under a NAME, as a new version of it: triggers that wait for it start their runs."""
    require_cluster()
    with failures.users_code():
        made = Artifact.create(_value(place), name=name, **{key: each for key, each in said.items() if each})
    printing.confirm(_facts(made), output, f"Artifact {name} has a new version, {made.version}.")


@click.command(name="artifact", epilog=printing.examples("flyteray delete artifact model v3"))
@click.argument("name")
@click.argument("version")
@printing.output_option
def delete(name: str, version: str, output: printing.Output) -> None:
    """Forget a version of an artifact; what it names stays where it lies."""
    require_cluster()
    with failures.users_code():
        found = Artifact.get(name, version)
        found.delete()
    facts = {"name": name, "version": found.version, "deleted": True}
    printing.confirm(facts, output, f"Version {found.version} of artifact {name} is deleted.")


def _value(place: str) -> File[Any] | Dir[Any]:
    kind: type[File[Any] | Dir[Any]] = Dir if place.endswith("/") or Path(place).is_dir() else File
    if "://" in place:
        return kind.from_existing_remote(place)
    if not Path(place).exists():
        raise click.BadParameter(f"There is no file and no folder {place!r}.", param_hint="--from-file")
    return kind.from_local_sync(place)


def _facts(artifact: Artifact) -> dict[str, Any]:
    return artifact.info.spec.model_dump() | {"created_at": artifact.info.created_at}
