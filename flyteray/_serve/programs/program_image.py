"""What the image of a program brings, which the process that looks after the program does without."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flyteray._cluster.images.venv import images_folder, python_for
from flyteray._plan.spec import AppSpec, ImageSpec

IMAGE = "its image is still being built"


def python_of(image: ImageSpec | None) -> Path | None:
    """The Python of a program's image, built unless it is there; None where it has none of its own.

    Raises:
        ImageBuildError: it can't be built on this node.
    """
    return python_for(image, images_folder()) if image is not None and image.program else None


def loaded(spec: AppSpec, python: Path | None, load: Callable[[], Any]) -> Any:
    """An app's environment as ``load`` gives it; None for a program without hooks, whose image alone may have what its
    module imports. With hooks it finds what the image has behind what the cluster has.
    """
    if spec.kind == "command" and not spec.hooks:
        return None
    if python is not None:
        lend_packages(python)
    return load()


def lend_packages(python: Path) -> None:
    """Let this process find the packages of another Python of its version, where it has none of that name itself."""
    for site in python.parent.parent.glob(
        f"lib*/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    ):
        if str(site) not in sys.path:
            sys.path.append(str(site))
