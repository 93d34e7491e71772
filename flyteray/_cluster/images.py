"""Images on the nodes of the connected cluster: built on each of them, and how a worker is started with one."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flyteray._cluster.venv import encoded, images_folder, python_for
from flyteray._plan.spec import ImageSpec
from flyteray.errors import ImageBuildError

Start: TypeAlias = tuple[tuple[str, str], ...]
"""What a process needs in its ``runtime_env`` to be started with an image: keys and values; hashable."""

NO_IMAGE: Start = ()

_OUTSIDE = "FLYTERAY_PYTHON"  # in a process with an image: the Python without it

# What bash executes on the node in place of Ray's Python. Usually one look at the disk; a node that has joined since
# the image was built builds it, and prints where.
_START = """\
D="${{FLYTERAY_HOME:+$FLYTERAY_HOME/images}}"; D="${{D:-${{FLYTERAY_CACHE:-/tmp}}/flyteray-images-$(id -u)}}/{key}"
if test -x "$D/bin/python"; then D="$(readlink -f "$D")"; else
P={python}; test -x "$P" || P=python3; D="$("$P" -m flyteray._cluster.venv {spec})" || exit 1; fi
export PATH="$D/bin:$PATH" VIRTUAL_ENV="$D" {mark}={python}; exec "$D/bin/python" "$@"
"""


class Images:
    """The images that were made ready on this cluster; one process keeps one of these."""

    def __init__(self) -> None:
        self._ready: dict[str, asyncio.Task[Start]] = {}

    async def prepare(
        self, image: ImageSpec | None, environ: Mapping[str, str] | None = None, force: bool = False
    ) -> Start:
        """Make an image ready on every node.

        Many may ask for one image at once: it is built once. A build that failed is tried again when it is asked for.

        Args:
            image: Which; None asks for nothing.
            environ: Environment variables for pip.
            force: Build even where it is there.

        Raises:
            ImageBuildError: it can't be built on a node.
        """
        if image is None:
            return NO_IMAGE
        if force or image.key not in self._ready:
            self._ready[image.key] = asyncio.create_task(_prepare(image, dict(environ or {}), force))
        try:
            return await asyncio.shield(self._ready[image.key])
        except BaseException:
            running = self._ready.get(image.key)
            if running is not None and running.done():
                self._ready.pop(image.key, None)
            raise


def worker_command(image: ImageSpec) -> str:
    """The command that starts a Ray worker with an image's packages, for ``py_executable``."""
    python = shlex.quote(sys.executable)
    script = _START.format(key=image.key, python=python, spec=encoded(image), mark=_OUTSIDE)
    return f"sh -c {shlex.quote(script)} flyteray"


def not_inherited(start: Start) -> Start:
    """The same for a task submitted by this process, which Ray would give this process's own image otherwise."""
    outside = os.environ.get(_OUTSIDE)
    if start or outside is None:
        return start
    script = f'P={shlex.quote(outside)}; test -x "$P" || P=python3; exec "$P" "$@"'
    return (("py_executable", f"sh -c {shlex.quote(script)} flyteray"),)


async def _prepare(image: ImageSpec, environ: dict[str, str], force: bool) -> Start:
    here = ray.get_runtime_context().get_node_id()
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    work = [asyncio.to_thread(_on_this_node, image, environ, force)]  # no process to start for
    others = [node for node in nodes if node != here]
    work += [_on_node(node, nodes[node], image, environ, force) for node in others]
    needed = await asyncio.gather(*work)
    if image.container is not None:
        lacking = [nodes[node] for node, there in zip([here, *others], needed, strict=True) if not there]
        if lacking:
            raise ImageBuildError(
                f"Image {image.container!r} is a container, which Ray starts with podman, and these nodes have none: "
                f"{', '.join(lacking)}. Install podman there, or use Image.from_debian_base()."
            )
        return (("image_uri", image.container),)
    return (("py_executable", worker_command(image)),) if any(needed) else NO_IMAGE


def _on_this_node(image: ImageSpec, environ: dict[str, str], force: bool) -> bool:
    """Whether a process needs the image to be started for it (a container: whether it can be)."""
    if image.container is not None:
        return shutil.which("podman") is not None
    return python_for(image, images_folder(), environ, force) != Path(sys.executable)


async def _on_node(node: str, address: str, image: ImageSpec, environ: dict[str, str], force: bool) -> bool:
    asked = {
        "num_cpus": 0,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
        "max_retries": 2,
    }
    try:
        needed: bool = await ray.remote(_on_this_node).options(**asked).remote(image, environ, force)
    except RayTaskError as error:
        if isinstance(error.cause, ImageBuildError):
            raise ImageBuildError(f"On node {address}: {error.cause}") from None
        raise
    except RayError:
        if any(each["NodeID"] == node and each["Alive"] for each in ray.nodes()):
            raise
        return image.container is not None  # it has left, and asks for nothing any more
    return needed
