"""An image may ask for another Python version than the cluster runs: programs get it, tasks and other apps do not."""

from __future__ import annotations

import sys
import warnings

from flyteray._settings import Settings
from flyteray.errors import ImageBuildError


def python_of_program(declared: tuple[int, int] | None, files: list[str]) -> str | None:
    """The Python that a program's image asks for where it is another, as a version specifier.

    A node looks for it; where it has none, it says so.
    """
    other = [] if declared in (None, sys.version_info[:2]) else [f"=={'.'.join(map(str, declared))}.*"]
    return ",".join([*other, *files]) or None


def settle_for_the_clusters(image: str, declared: tuple[int, int] | None, files: list[str]) -> None:
    """Say that tasks and apps with an image run the cluster's Python in place of another that it asks for.

    Args:
        image: Its name.
        declared: Its ``python_version``, of which has been told where it was declared.
        files: What its files require that is not here.

    Raises:
        ImageBuildError: ``FLYTERAY_IMAGE_PYTHON`` is ``strict``.
    """
    here = ".".join(map(str, sys.version_info[:3]))
    other = [".".join(map(str, declared))] if declared not in (None, sys.version_info[:2]) else []
    if (other or files) and Settings.load().strict_python:
        raise ImageBuildError(
            f"Image {image!r} asks for Python {', '.join([*other, *files])}, but this is {here}, and all processes of "
            "a Ray cluster run the Python that it was started with. Start the cluster with the other one, or unset "
            "FLYTERAY_IMAGE_PYTHON: then the cluster's is taken."
        )
    if files:
        warnings.warn(
            f"Image {image!r} asks for Python {', '.join(files)}, but all processes of a Ray cluster run the one that "
            f"it was started with, {here} here, which is taken. A program (args, command) gets the one that is asked "
            "for where uv finds it on the node.",
            UserWarning,
            stacklevel=2,
        )
