"""The code of an app travels in a ConfigMap, from which the job that serves the app takes it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from flyteray._declare.environment import Environment
from flyteray._declare.images.image import Image
from flyteray._plan.bundle import bundle, code
from flyteray._plan.bundle import sources as files
from flyteray._plan.bundle.shipping import Shipping
from flyteray.app.environment import AppEnvironment
from flyteray.errors import CodeBundleError

LARGEST = 1_000_000  # bytes: Kubernetes takes a ConfigMap of a MiB

_OURS = f"{bundle.OWN}/"
_ELSEWHERE = f"{_OURS}modules"


@dataclass(frozen=True)
class Sources:
    """The files of an app by their places, and the command that serves it in the folder of these places."""

    contents: Mapping[str, bytes]
    command: str


def app_sources(file: Path, name: str, app: AppEnvironment, shipping: Shipping) -> Sources:
    """The code of an app that ``name`` in ``file`` is; with the copy style ``"none"`` the image has the file.

    CodeBundleError where it is too large for a ConfigMap, can't be found by name, or an image is made of a file that
    is not beside the code.
    """
    words = ["flyteray", "serve", *(["--version", shipping.version] if shipping.version else [])]
    if shipping.copy_style == "none":
        return Sources({}, shlex.join([*words, "--copy-style", "none", file.as_posix(), name]))
    ref, shipped = code.ship(app, shipping)
    contents = dict(shipped.contents or {})
    home = _home(ref.module, app)
    place = next((place for place, content in contents.items() if content == home), None)
    if place is None:
        raise CodeBundleError(
            f"{home} is not in the code that is shipped: export from where the code was written."
        )
    root = home.parents[len(Path(place).parts) - 1]
    for path in _files_of_images(code.reached(app)):
        if not path.is_relative_to(root):
            raise CodeBundleError(
                f"An image of app {app.name!r} is made of {path}, which is outside {root}, where its code is. Move it "
                "there, or build a container image that has all and name it with --image."
            )
        contents[path.relative_to(root).as_posix()] = path
    if bundle.AS_FLYTE in contents:
        words.append("--as-flyte")
    kept = {
        place: content if isinstance(content, bytes) else files.read(content)
        for place, content in sorted(contents.items())
        if not place.startswith(_OURS) or place.startswith(_ELSEWHERE)
    }
    size = sum(map(len, kept.values()))
    if size > LARGEST:
        raise CodeBundleError(
            f"The code of app {app.name!r} is {size / 1e6:.1f} MB in {len(kept)} files, and a ConfigMap holds 1 MB. "
            "Put it into the container image and say --copy-style none --version VERSION, or name what is not needed "
            "in a .flyteignore."
        )
    variables = _python_path(contents)
    return Sources(kept, " ".join([*variables, shlex.join([*words, place, ref.name])]))


def _home(module: str, app: AppEnvironment) -> Path:
    file = getattr(sys.modules.get(module), "__file__", None) if module else None
    if file is None:
        raise CodeBundleError(f"App {app.name!r} is no global of a file: define it at the top level of one.")
    return Path(os.path.realpath(file))


def _files_of_images(environments: Sequence[Environment]) -> list[Path]:
    """The files that images are made of, beyond those that travel with the code anyway."""
    layers = [layer for env in environments if isinstance(env.image, Image) for layer in env.image.layers]
    found = [getattr(layer, each.name) for layer in layers if layer.reads_files for each in fields(layer)]
    return [path.resolve() for path in found if isinstance(path, Path)]


def _python_path(contents: Mapping[str, Path | bytes]) -> list[str]:
    """The assignment that lets modules be found which are not at the top of the folder."""
    listed = contents.get(bundle.PATHS)
    if not isinstance(listed, bytes):
        return []
    return [f"PYTHONPATH={shlex.quote(os.pathsep.join(listed.decode().splitlines()))}"]
