"""The configuration of the command: what files, variables and options say is shown, and a file is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rich_click as click
from click import get_current_context

from flyteray._client.session.owner import owner
from flyteray._client.session.session import session
from flyteray._plan.images.image import REFERENCES
from flyteray.cli import options, printing, shipping
from flyteray.config import PlatformConfig, auto

_PLACE = Path(".flyte", "config.yaml")
_KEYS = {
    "endpoint": "admin.endpoint",
    "insecure": "admin.insecure",
    "auth_type": "admin.authType",
    "org": "task.org",
    "project": "task.project",
    "domain": "task.domain",
    "builder": "image.builder",
    "registry": "image.registry",
    "local_persistence": "local.persistence",
    "local_tracked": "local.tracked",
}


@click.command(
    name="config", epilog=printing.examples("flyteray get config", "flyteray -c team.yaml get config -o json")
)
@printing.output_option
def get(output: printing.Output) -> None:
    """What is configured by variables, a file of Flyte's and the options before the verb."""
    shipping.configure()
    config = auto(get_current_context().find_root().params.get("config"))
    settings, whose = session().settings, owner()
    facts: dict[str, Any] = {
        "file": None if config.source is None else str(config.source.absolute()),
        "org": whose.org,
        "project": whose.project,
        "domain": whose.domain,
        "images": os.environ.get(REFERENCES) or None,
        "address": settings.address,
        "home": str(settings.home),
        "storage": settings.storage,
    }
    printing.record(facts, output)
    if config.platform != PlatformConfig():
        printing.note("What is said of a Flyte backend (admin) has no meaning on Ray and changes nothing.")


@click.command(
    name="config",
    epilog=printing.examples(
        "flyteray create config --project ranking --domain production", "flyteray get config"
    ),
)
@click.option("-p", "--project", help="What flyteray.current_project() tells.")
@click.option("-d", "--domain", help="What flyteray.current_domain() tells.")
@click.option("--org", help="What ctx() tells as org.")
@click.option("--endpoint", help="Of a Flyte backend, for Flyte; nothing on Ray needs one.")
@click.option("--insecure", is_flag=True, default=None, help="That backend has no TLS.")
@click.option("--auth-type", help="How that backend is told who asks.")
@click.option(
    "--image-builder", "--builder", "builder", help="Who builds images for that backend, such as remote."
)
@click.option("--registry", help="Where that backend's images go.")
@click.option("--local-persistence", is_flag=True, default=None, help="Flyte keeps its local runs.")
@click.option("--local-tracked", is_flag=True, default=None, help="Flyte tracks its local runs.")
@options.accepted("--devbox", is_flag=True, instead="`flyteray up` starts a local cluster.")
@click.option(
    "-o",
    "--output",
    "place",
    type=click.Path(dir_okay=False, path_type=Path),
    default=_PLACE,
    show_default=True,
    help="The file.",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def create(place: Path, force: bool, **said: str | bool | None) -> None:
    """Write a configuration file of Flyte's, which flyteray reads as well: an owner here, and what Flyte needs."""
    given = {name: value for name, value in said.items() if value is not None}
    if not given:
        raise click.UsageError("Say what the file is to say: --project, --domain, --org or what Flyte needs.")
    if place.exists() and not force:
        raise click.UsageError(
            f"There is a file {str(place)!r}: say --force to write over it, or -o another one."
        )
    sections: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        section, _, key = _KEYS[name].partition(".")
        sections.setdefault(section, {})[key] = value
    import yaml  # deferred: few commands write any

    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(yaml.safe_dump(sections, sort_keys=False))
    facts = {"file": str(place.absolute()), **sections}
    printing.confirm(facts, printing.form(), f"{place} is written.")
    if unused := sorted(set(sections) - {"task"}):
        printing.note(f"What it says of {' and '.join(unused)} is for Flyte: it has no meaning on Ray.")
