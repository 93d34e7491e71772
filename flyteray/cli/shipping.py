"""Verbs that ship code share options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_args

import rich_click as click
from click import get_current_context

from flyteray._client.session.init_from import init_from_config
from flyteray._plan.bundle import alias, code
from flyteray._plan.bundle.shipping import CopyStyle, Shipping
from flyteray.config import Config, auto

F = TypeVar("F", bound=Callable[..., Any])

NAMES = ("copy_style", "root_dir", "version")


def options(command: F) -> F:
    """Add ``--copy-style``, ``--root-dir`` and ``--version``, of which :func:`shipping` makes sense; ``--as-flyte``."""
    for add in (as_flyte_option, _VERSION, _ROOT_DIR, _COPY_STYLE):
        command = add(command)
    return command


def shipping(copy_style: CopyStyle, root_dir: Path | None, version: str | None) -> Shipping:
    """The shipping that the options ask for; UsageError where they don't go together."""
    try:
        return Shipping(copy_style=copy_style, root_dir=root_dir, version=version)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def load_file(file: str | Path, root_dir: Path | None = None) -> ModuleType:
    """The module of a file; what a configuration file of Flyte says is said before it is loaded.

    InitializationError: the file that ``--config`` names is missing or wrong. ModuleLoadError: the module can't load.
    """
    configured = auto(get_current_context().find_root().params.get("config"))
    if configured != Config():
        init_from_config(configured)
    return code.load_file(file, root_dir)


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
_COPY_STYLE = click.option(
    "--copy-style",
    type=click.Choice(get_args(CopyStyle)),
    default="loaded_modules",
    help="Ship the modules that the file imports, all files below the root, or nothing.",
)
_ROOT_DIR = click.option(
    "--root-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder that files keep their places below; modules are imported from it as well.",
)
_VERSION = click.option("--version", help="What this state of the code is called; needed to ship nothing.")
