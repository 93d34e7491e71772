"""Images are built ahead."""

from __future__ import annotations

import sys
from typing import Annotated, Any

from fastapi import Body, HTTPException

from flyteray._client.build import build
from flyteray._declare.images.image import Image


async def build_image(
    base_image: str | None = None,
    python_version: str | None = None,
    name: str | None = None,
    pre: bool = False,
    pip_packages: Annotated[list[str] | None, Body()] = None,
    apt_packages: Annotated[list[str] | None, Body()] = None,
) -> dict[str, Any]:
    """Build an image on every node and answer when it is there.

    Whoever may call this may install packages, and packages may run code while they are installed.
    """
    if apt_packages:
        raise HTTPException(400, "apt_packages can't be installed by Ray: use a base_image that has them")
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python_version not in (None, here):
        raise HTTPException(
            400, f"All processes of this cluster run Python {here}, so none can run {python_version!r}"
        )
    try:
        image = Image.from_base(base_image) if base_image else Image.from_debian_base(name=name)
        if pip_packages:
            extended = image.clone(name=name, extendable=True)
            image = extended.with_pip_packages(*pip_packages, pre=pre)
    except ValueError as error:
        raise HTTPException(400, str(error)) from error
    built = await build.aio(image)
    return {
        "image_build_run_url": None,
        "image_uri": built.uri,
        "image_name": name,
        "base_image": base_image or "flyte-debian-base",
        "pip_packages": pip_packages,
        "apt_packages": apt_packages,
    }
