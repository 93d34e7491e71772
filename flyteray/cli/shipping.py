"""Verbs that ship code share options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_args

import rich_click as click
from click import get_current_context

from flyteray._client.session.init_from import init_from_config
from flyteray._declare.facts import Owner
from flyteray._plan.bundle import alias, code
from flyteray._plan.bundle.shipping import CopyStyle, Shipping
from flyteray._plan.images.image import named
from flyteray.cli.options import accepted, log_levels, owner, together
from flyteray.config import Config, auto

F = TypeVar("F", bound=Callable[..., Any])

NAMES = ("copy_style", "root_dir", "version")
_IMAGES = "flyteray.images"  # in the context's meta


def options(command: F) -> F:
    """Add ``--copy-style``, ``--root-dir`` and ``--version``, of which :func:`shipping` makes sense; ``--as-flyte``."""
    return together(_COPY_STYLE, root_dir_option, _VERSION, loading_options)(command)


def shipping(copy_style: CopyStyle, root_dir: Path | None, version: str | None) -> Shipping:
    """The shipping that the options ask for; UsageError where they don't go together."""
    try:
        return Shipping(copy_style=copy_style, root_dir=root_dir, version=version)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def configure() -> None:
    """Do what a configuration file of Flyte says and what was said before it, as ``flyteray.init_from_config`` does.

    InitializationError: the file that ``--config`` names is missing or wrong.
    """
    ctx = get_current_context()
    configured = auto(ctx.find_root().params.get("config"))
    said = owner(ctx)
    images: list[str] = ctx.meta.get(_IMAGES, [])
    if configured != Config() or said != Owner() or images:
        init_from_config(
            configured, org=said.org, project=said.project, domain=said.domain, images=images or None
        )
        log_levels(ctx)  # which it has set as the environment says


def refuse_images() -> None:
    """Raise UsageError for ``--image`` with a task that has the images already which it was deployed with."""
    if get_current_context().meta.get(_IMAGES):
        raise click.UsageError(
            "--image is for files: a deployed task has the images that it was deployed with."
        )


def load_file(file: str | Path, root_dir: Path | None = None) -> ModuleType:
    """The module of a file, loaded when all is configured.

    InitializationError: as of :func:`configure`. ModuleLoadError: the module can't load.
    """
    configure()
    return code.load_file(file, root_dir)


def _images(ctx: click.Context, param: click.Parameter, given: tuple[str, ...]) -> None:
    try:
        named(given)
    except ValueError as error:
        raise click.BadParameter(str(error), param=param) from error
    if given:
        ctx.meta[_IMAGES] = list(given)


def _as_flyte(ctx: click.Context, param: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        alias.install()


as_flyte_option = click.option(
    "--as-flyte",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_as_flyte,
    help="The file says `import flyte`: put flyteray in its place, here and wherever the file's code runs.",
)
image_option = click.option(
    "--image",
    metavar="NAME=URI",
    multiple=True,
    expose_value=False,
    callback=_images,
    help="What Image.from_ref_name(NAME) stands for; can be given several times.",
)
loading_options = together(
    as_flyte_option,
    accepted(
        "--no-sync-local-sys-paths",
        is_flag=True,
        instead="Code is imported from --root-dir and from its own folder.",
    ),
)
_COPY_STYLE = click.option(
    "--copy-style",
    type=click.Choice(get_args(CopyStyle)),
    default="loaded_modules",
    help="Ship the modules that the file imports, all files below the root, or nothing.",
)
root_dir_option = click.option(
    "--root-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that files keep their places below; modules are imported from it as well.",
)
_VERSION = click.option("--version", help="What this state of the code is called; needed to ship nothing.")
