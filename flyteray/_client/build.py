"""``flyteray.build`` makes images ready ahead of the tasks and apps that need them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from flyteray._client.bridge import Verb, not_while_loading
from flyteray._client.credentials.caller_secrets import take_secrets
from flyteray._client.session.session import session
from flyteray._declare.environment import Environment, without_meaning
from flyteray._declare.images.image import Image, ImageBuild
from flyteray._plan.dependencies import with_dependencies
from flyteray._plan.images.image import image_spec, is_program
from flyteray._plan.spec import EnvironmentSpec, ImageSpec


@dataclass(frozen=True)
class ImageCache:
    """The images that :func:`flyteray.build_images` has made ready.

    Attributes:
        images: The URI of every environment's image by the environment's name; ``"auto"`` for the cluster's own.
    """

    images: Mapping[str, str] = field(default_factory=dict)


@Verb
@not_while_loading("flyteray.build")
async def build(image: Image, dry_run: bool = False, force: bool = False, wait: bool = True) -> ImageBuild:
    """Build an image on every node of the cluster, so that the first task or app that needs it starts at once.

    What is built already, or is there without building, costs nothing.

    Args:
        image: Which.
        dry_run: Only check the image and tell its URI.
        force: Build it even where it is there. Processes that run keep what they have.
        wait: Return when it is built. Otherwise a failure is seen by whoever uses the image.

    Raises:
        TypeError: not an Image.
        ImageBuildError: it can't be built; with pip's own message.
        FileNotFoundError: a file of it is missing.
    """
    if not isinstance(image, Image):
        raise TypeError(f"flyteray.build builds an Image, not {image!r}.")
    spec = image_spec(image)
    if spec is not None and not dry_run:
        await take_secrets([EnvironmentSpec(image=spec)])
        if not wait:
            await session().controller.images.start(spec, force)
            return ImageBuild(uri=None)
        await session().controller.images.prepare(spec, force)
    return ImageBuild(uri=_uri(image, spec))


@Verb
@not_while_loading("flyteray.build_images")
async def build_images(
    *envs: Environment, copy_style: str = "loaded_modules", seed_cache: ImageCache | None = None
) -> ImageCache:
    """Build the images of environments and of those that they depend on.

    Args:
        envs: Which.
        copy_style: No effect: on Ray an image does not hold the code.
        seed_cache: What an earlier call has returned; environments in it are left alone.

    Raises:
        TypeError: not an environment.
        ImageBuildError: one can't be built; with pip's own message.
    """
    for env in envs:
        if not isinstance(env, Environment):
            raise TypeError(f"flyteray.build_images takes environments, not {env!r}.")
    if copy_style != "loaded_modules":
        without_meaning("build_images", f"copy_style={copy_style!r}")
    known = dict(seed_cache.images) if seed_cache else {}
    todo = [env for env in with_dependencies(*envs) if env.name not in known]
    uris = await asyncio.gather(*(_build_for(env) for env in todo))
    return ImageCache(known | {env.name: uri for env, uri in zip(todo, uris, strict=True)})


async def _build_for(env: Environment) -> str:
    image = env.image
    if not image or image == "auto":
        return "auto"
    if isinstance(image, str):
        image = Image.from_base(image)
    spec = image_spec(image, env.name, is_program(env))
    if spec is not None:
        await take_secrets([EnvironmentSpec(image=spec)])
        await session().controller.images.prepare(spec, False)
    return _uri(image, spec)


def _uri(image: Image, spec: ImageSpec | None) -> str:
    return spec.container if spec and spec.container else image.uri
