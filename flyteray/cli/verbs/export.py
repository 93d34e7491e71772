"""``flyteray export`` writes an app as manifests for another system."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import rich_click as click
import yaml

from flyteray._declare.environment import Environment
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan import apps
from flyteray._plan.bundle import code
from flyteray._plan.kuberay.manifests import ClusterOptions, Manifest, manifests
from flyteray._plan.kuberay.notes import notes
from flyteray._plan.kuberay.sources import app_sources
from flyteray._plan.resources import environment_spec
from flyteray._plan.spec import CodeRef
from flyteray.app.environment import AppEnvironment
from flyteray.cli import failures, options, printing, shipping

_EPILOG = printing.examples(
    "flyteray export kuberay app.py env -o app.yaml",
    "flyteray export kuberay app.py env --image registry.example.com/app:1 --storage s3://bucket/app",
    "flyteray export kuberay app.py env | kubectl apply -f -",
)


def _labels(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    for name, equals, value in pairs:
        if not name or not equals or not value:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE.")
    return {name: value for name, _, value in pairs}


@click.group(cls=options.Nouns, epilog=_EPILOG)
def export() -> None:
    """Write an app as manifests for Kubernetes."""


@export.command(name="kuberay", epilog=_EPILOG)
@click.option("-o", "--out", type=click.Path(dir_okay=False, path_type=Path), help="A file; default: stdout.")
@click.option("--json", "as_json", is_flag=True, help="One JSON list in place of YAML documents.")
@click.option("--name", help="Of the cluster and what belongs to it. Default: the app's.")
@click.option(
    "--image", help="The pods' container image. Default: the app's, or what clusters/Dockerfile makes."
)
@click.option("--storage", metavar="URL", help="A bucket (s3://…). Default: a volume that all pods share.")
@click.option("--url", help="The address that people reach apps by, such as https://apps.example.com.")
@click.option(
    "--node-selector",
    "selector",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_labels,
    help="A label of the Kubernetes nodes that have the accelerators which are asked for; may be repeated.",
)
@click.option(
    "--task-pods",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="The most pods for the tasks of one environment that the app may call.",
)
@shipping.options
@click.argument("file")
@click.argument("env")
def kuberay(file: str, env: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Write the manifests of an app for a Kubernetes cluster that has KubeRay (1.5.1 or newer).

    ENV is the name of the variable that holds the AppEnvironment. They are a RayCluster whose groups of pods have the
    hardware of the app, of the apps that it depends on and of the tasks that they may call, and are as many as their
    scaling says; the Service that leads to all apps; and a RayJob that serves the app from its code, which is a
    ConfigMap. What is left to you is said on stderr, and at the top of the YAML.
    """
    ships = shipping.shipping(*(options.pop(name) for name in shipping.NAMES))
    try:
        asked = ClusterOptions(ray=importlib.metadata.version("ray"), **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with failures.users_code():
        found = code.lookup(shipping.load_file(file, ships.root_dir), env, Environment)
        if not isinstance(found, AppEnvironment):
            raise click.UsageError(
                f"{env!r} is a {type(found).__name__}, and what is exported is an app. Tasks need no manifests of "
                "their own: run them on any cluster (clusters/kuberay/raycluster.yaml, rayjob.yaml), or let an app "
                "depend on them: then its cluster has pods for them."
            )
        order = apps.in_order(found)
        planned = [(app, apps.app_spec(app, CodeRef(bundle="", module="", name=app.name))) for app in order]
        reached = {each.name: each for app in order for each in code.reached(app)}
        tasks = [
            (each, environment_spec(each, default_cpus=1.0))
            for each in reached.values()
            if isinstance(each, TaskEnvironment)
        ]
        made = manifests(planned, tasks, app_sources(Path(file), env, found, ships), asked)
        told = list(notes(planned, tasks, asked))
    for each in told:
        printing.note(each)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": made}, indent=2) + "\n"
    _write(text if as_json else _yaml(made, told), out)


def _yaml(made: list[Manifest], told: list[str]) -> str:
    comments = "".join(f"# {line}\n" for line in told)
    documents = yaml.dump_all(made, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return f"# Made by `flyteray export kuberay`.\n{comments}{documents}"


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise click.UsageError(f"{str(out)!r} can't be written: {error.strerror}.") from error


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # PyYAML ships no types
    """Writes code as the block that it is, and nothing as a reference: people edit these files."""

    def represent_data(self, data: object) -> yaml.Node:
        """The node of a value."""
        if isinstance(data, str) and "\n" in data:
            return self.represent_scalar("tag:yaml.org,2002:str", data, style="|")
        return super().represent_data(data)

    def ignore_aliases(self, data: object) -> bool:
        """Whether a value is written again where it comes again."""
        return True
