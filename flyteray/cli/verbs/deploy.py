"""``flyteray deploy`` deploys tasks and apps, to be used by name; ``flyteray build`` builds their images ahead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import rich_click as click

from flyteray._client.build import build_images
from flyteray._client.deploy import deploy as deploy_environments
from flyteray._client.session.session import session
from flyteray._declare.environment import Environment
from flyteray._plan.bundle import code
from flyteray._plan.bundle.ignore_files import files_below
from flyteray._plan.bundle.shipping import CopyStyle
from flyteray.cli import failures, options, printing, rollout, shipping
from flyteray.errors import ModuleLoadError

_COLUMNS = ("type", "name", "version", "inputs", "outputs", "url")
_EPILOG = printing.examples(
    "flyteray deploy train.py env",
    "flyteray deploy --all --version v2 train.py",
    "flyteray deploy --all --recursive --dry-run workflows",
)


_which = options.together(
    click.option("--all", "everything", is_flag=True, help="All environments of the file."),
    click.option(
        "-r",
        "--recursive",
        is_flag=True,
        help="FILE is a folder: the files below it that no ignore file names, with --all.",
    ),
    click.option(
        "-i", "--ignore-load-errors", is_flag=True, help="Go on without the files that can't be imported."
    ),
)


@click.command(epilog=_EPILOG)
@click.option(
    "--dry-run", "--dryrun", is_flag=True, help="Only show what would be deployed; no cluster is needed."
)
@_which
@rollout.options
@shipping.options
@shipping.image_option
@printing.output_option
@click.argument("file")
@click.argument("env", required=False)
def deploy(
    file: str,
    env: str | None,
    everything: bool,
    recursive: bool,
    ignore_load_errors: bool,
    root_dir: Path | None,
    output: printing.Output,
    **settings: Any,
) -> None:
    """Deploy tasks and apps, to be used by name.

    ENV is the name of the variable that holds the environment; without it, --all, or there is only one. What it
    depends on is deployed with it. Does not wait for apps to come up; `flyteray serve` does.
    """
    settings = rollout.rollout(settings)
    with failures.users_code():
        found = _found(file, env, everything, recursive, ignore_load_errors, root_dir)
        if root_dir is not None:  # whatever the files say when they are loaded
            session().configure(replace(session().settings, root_dir=root_dir.absolute()))
        deployments = deploy_environments(*found, **settings)
    rows = [dict(row) for deployment in deployments for row in deployment.table_repr()]
    printing.rows(rows, output, _COLUMNS)


@click.command(
    epilog=printing.examples(
        "flyteray build train.py", "flyteray build train.py env", "flyteray build --all --recursive workflows"
    )
)
@_which
@shipping.root_dir_option
@options.accepted(
    "--copy-style",
    type=click.Choice(get_args(CopyStyle)),
    instead="Images hold no code: it goes to the nodes by itself.",
)
@shipping.loading_options
@shipping.image_option
@printing.output_option
@click.argument("file")
@click.argument("env", required=False)
def build(
    file: str,
    env: str | None,
    everything: bool,
    recursive: bool,
    ignore_load_errors: bool,
    root_dir: Path | None,
    output: printing.Output,
) -> None:
    """Build the images of a file's environments on every node, so that nothing waits for them later.

    ENV is the name of the variable that holds a TaskEnvironment or AppEnvironment; without it, all of the file's are
    built. What is built already costs nothing.
    """
    everything = everything or (env is None and not recursive)
    with failures.users_code():
        found = _found(file, env, everything, recursive, ignore_load_errors, root_dir)
        with printing.busy("Building " + ", ".join(each.name for each in found)):
            built = build_images(*found)
    printing.record(dict(built.images), output)


def _found(
    file: str,
    env: str | None,
    everything: bool,
    recursive: bool,
    ignore_load_errors: bool,
    root_dir: Path | None,
) -> list[Environment]:
    """The environments that are asked for."""
    if env is not None and everything:
        raise click.UsageError("Name an environment or say --all, not both.")
    if recursive and not everything:
        raise click.UsageError("--recursive takes all that it finds: say --all as well.")
    found: list[Environment] = []
    for path in _below(Path(file)) if recursive else [Path(file)]:
        try:
            found += _chosen(shipping.load_file(path, root_dir), env, everything)
        except ModuleLoadError as error:
            if not ignore_load_errors:
                raise
            printing.note(f"{path} is left out: {error}")
    if not found:
        raise ModuleLoadError(f"There is no environment in {file!r}.")
    return found


def _below(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ModuleLoadError(
            f"{str(folder)!r} is no folder: --recursive needs one. Leave it out for a file."
        )
    root = folder.absolute()
    return [folder / path.relative_to(root) for path in files_below(root) if path.suffix == ".py"]


def _chosen(module: ModuleType, env: str | None, everything: bool) -> list[Environment]:
    if env is not None:
        return [code.lookup(module, env, Environment)]
    there = {name: value for name, value in vars(module).items() if isinstance(value, Environment)}
    if not everything and len(there) != 1:
        names = ", ".join(sorted(there)) or "none"
        raise ModuleLoadError(f"Say which environment of {module.__name__!r}, or --all. It has: {names}.")
    return list(there.values())
