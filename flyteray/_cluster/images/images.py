"""Images are built on each node of the connected cluster, those that join later too."""

from __future__ import annotations

import asyncio
import logging
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from flyteray._actors.controller import Images as ImagesDoor
from flyteray._cluster import nodes
from flyteray._cluster.images.venv import encoded, images_folder, python_for
from flyteray._plan.images.image import build_env_vars
from flyteray._plan.spec import NO_IMAGE, ImageSpec, Start
from flyteray.errors import ImageBuildError

logger = logging.getLogger(__name__)

_NODES_EVERY_S = 5.0


class Images(ImagesDoor):
    """The images that were made ready on this cluster; one process keeps one of these."""

    def __init__(self, secret_values: Callable[[list[str]], dict[str, bytes]]) -> None:
        self._secret_values = secret_values
        self._ready: dict[str, asyncio.Task[Start]] = {}
        self._images: dict[str, ImageSpec] = {}
        self._nodes: set[str] = set()

    async def prepare(self, image: ImageSpec | None, force: bool = False) -> Start:
        # Shielded: a caller that stops waiting must not end it for the others.
        return NO_IMAGE if image is None else await asyncio.shield(self._begin(image, force))

    async def start(self, image: ImageSpec, force: bool) -> None:
        self._begin(image, force)

    def _begin(self, image: ImageSpec, force: bool) -> asyncio.Task[Start]:
        """An image that many ask for at once is built once; a build that failed is tried again when it is asked for."""
        known = self._ready.get(image.key)
        if known is not None and not (force and known.done()):
            return known
        living = nodes.addresses()
        self._nodes |= living.keys()
        self._images[image.key] = image
        building = self._ready[image.key] = asyncio.create_task(self._prepare(image, living, force))
        building.add_done_callback(lambda _: self._forget_failed(image.key, building))
        return building

    def is_building(self, image: ImageSpec) -> bool:
        """Whether an image is being made ready at the moment."""
        known = self._ready.get(image.key)
        return known is not None and not known.done()

    async def follow_nodes(self) -> None:
        """Build the images that are in use on nodes that join, for as long as the process lives."""
        while True:
            try:
                await self._build_on_new_nodes()
            except RayError:
                logger.exception("Looking for new nodes failed; it is tried again")
            await asyncio.sleep(_NODES_EVERY_S)

    async def _build_on_new_nodes(self) -> None:
        built = [
            self._images[key]
            for key, building in self._ready.items()
            if building.done() and not _failure(building) and building.result() != NO_IMAGE
        ]
        if not built:
            return
        living = nodes.addresses()
        joined = living.keys() - self._nodes
        self._nodes |= joined
        work = [self._build_on(node, living[node], image) for node in joined for image in built]
        for failed in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(failed, Exception):
                logger.warning("An image could not be built on a node that has joined: %s", failed)

    async def _build_on(self, node: str, address: str, image: ImageSpec) -> None:
        await _on_node(node, address, image, self._environ(image), force=False)

    def _forget_failed(self, key: str, building: asyncio.Task[Start]) -> None:
        if (failed := _failure(building)) and self._ready.get(key) is building:
            del self._ready[key]
            logger.warning("An image could not be built: %s", failed)

    async def _prepare(self, image: ImageSpec, living: dict[str, str], force: bool) -> Start:
        environ = self._environ(image)
        here = ray.get_runtime_context().get_node_id()
        others = [node for node in living if node != here]
        needed = await asyncio.gather(
            asyncio.to_thread(_on_this_node, image, environ, force),  # no process to start for
            *(_on_node(node, living[node], image, environ, force) for node in others),
        )
        if image.container is None:
            return Start(key=image.key, text=encoded(image)) if any(needed) else NO_IMAGE
        lacking = [living[node] for node, there in zip([here, *others], needed, strict=True) if not there]
        if lacking:
            raise ImageBuildError(
                f"Image {image.container!r} is a container, which Ray starts with podman, and these nodes have none: "
                f"{', '.join(lacking)}. Install podman there, or use Image.from_debian_base()."
            )
        return Start(container=image.container)

    def _environ(self, image: ImageSpec) -> dict[str, str]:
        names = [secret.name for secret in image.secrets]
        return build_env_vars(image, self._secret_values(names) if names else {})


def _failure(building: asyncio.Task[Start]) -> object:
    return building.cancelled() or building.exception()


def _on_this_node(image: ImageSpec, environ: dict[str, str], force: bool) -> bool:
    """Whether a process needs the image to be started for it (a container: whether it can be)."""
    if image.container is not None:
        return shutil.which("podman") is not None
    return python_for(image, images_folder(), environ, force) != Path(sys.executable)


async def _on_node(node: str, address: str, image: ImageSpec, environ: dict[str, str], force: bool) -> bool:
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    task = ray.remote(_on_this_node).options(num_cpus=0, scheduling_strategy=there, max_retries=2)
    try:
        needed: bool = await task.remote(image, environ, force)
    except RayTaskError as error:
        if isinstance(error.cause, ImageBuildError):
            raise ImageBuildError(f"On node {address}: {error.cause}") from None
        raise
    except RayError:
        if node in nodes.addresses():
            raise
        return image.container is not None  # it has left, and asks for nothing any more
    return needed
