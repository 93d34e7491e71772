"""An image becomes the spec that the cluster knows it by: what pip is to install, or the container to run in."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from flyteray._declare.environment import Environment
from flyteray._declare.images import layers
from flyteray._declare.images.image import Image
from flyteray._declare.near import did_you_mean
from flyteray._plan.bundle import bundle
from flyteray._plan.credentials import as_text, secret_specs
from flyteray._plan.dependencies import declared_in
from flyteray._plan.images import manifests
from flyteray._plan.images.manifests import Wanted
from flyteray._plan.spec import ImageSpec, InstallSpec, SecretSpec
from flyteray._settings import Settings
from flyteray.errors import BaseRuntimeError, ImageBuildError, InvalidImageNameError

REFERENCES = (
    "FLYTERAY_IMAGES"  # an environment variable that tells what named images are: ``name=uri``, with commas
)

_SHIPPED = f"{bundle.OWN}/images.json"


def image_spec(image: Image | str | None, environment: str = "", program: bool = False) -> ImageSpec | None:
    """The plan of an image; None where it adds nothing to what the cluster has.

    In a process whose code has come in a bundle, the files of images are where it was shipped from: the plan has come
    with the code then.

    Args:
        image: The image, or the URI of a container.
        environment: The name of the environment that asks for it.
        program: Whether it is for a program of the user's, which no process of Ray has to live with. Another Python
            than the cluster's is warned of where it is not.

    Raises:
        ImageBuildError: it can't be built on Ray; the message says what to do instead.
        InvalidImageNameError: it is a name that stands for nothing.
        FileNotFoundError: a file of it is missing.
        ValueError: a file of it can't be read.
    """
    if isinstance(image, str):
        return (
            None
            if image in ("", "auto", Settings.load().container)
            else ImageSpec(name=image, container=image)
        )
    if image is None:
        return None
    if _reads_files(image):
        for folder in bundle.active().values():
            if environment in (arrived := _arrived(folder)):
                return arrived[environment]
    image.validate()
    if image.dockerfile is not None:
        raise ImageBuildError(
            f"Image {image.name!r} is to be built from {image.dockerfile}, which nothing on a Ray cluster does. Build "
            "and push it, and say Image.from_base(<its URI>)."
        )
    container = _container(image)
    installing = [layer for layer in image.layers if isinstance(layer, (layers.PipLayer, layers.Pixi))]
    wanted = [_wanted(image, layer) for layer in installing]  # refuses Pixi's
    options = [layer.options for layer in installing if isinstance(layer, layers.PipLayer)]
    installs = _merged([_of(*each) for each in zip(wanted, options, strict=True)])
    if container is not None:
        if installs:
            raise ImageBuildError(
                f"Image {image.name!r} adds Python packages to the container {container!r}, which Ray can't. Build a "
                "container that has them, or start from Image.from_debian_base()."
            )
        if container == Settings.load().container:
            return None
        return ImageSpec(name=image.name or container, container=container)
    name, declared = image.name or "", image.python_version
    pythons = list(dict.fromkeys(each.python for each in wanted if each.python))
    python = _python_of_program(declared, pythons) if program else None
    if not program:
        _settle_for_the_clusters(name, declared, pythons)
    if not installs and python is None:
        return None
    return ImageSpec(
        name=name,
        installs=installs,
        secrets=image_secrets(image),
        program=program,
        python=python,
        python_required=python is not None and Settings.load().strict_python,
    )


def shipped_images(environments: Iterable[Environment], modules: Iterable[str]) -> dict[str, bytes]:
    """What a bundle holds of images whose plan is made of files, as its contents.

    The code of ``modules`` may call tasks of any environment in them.
    """
    plans = {}
    for env in {*environments, *declared_in(modules)}:
        if isinstance(env.image, Image) and _reads_files(env.image):
            # What is wrong with it is told to those who use it; this may be another environment's code.
            with contextlib.suppress(OSError, ValueError, BaseRuntimeError):
                plan = image_spec(env.image, env.name, is_program(env))
                plans[env.name] = plan and plan.model_dump(mode="json")
    return {_SHIPPED: json.dumps(plans, sort_keys=True).encode()} if plans else {}


def is_program(declared: object) -> bool:
    """Whether what is declared is an app that is a program of its own."""
    return getattr(declared, "kind", None) == "command"


def image_env_vars(image: Image | str | None) -> dict[str, str]:
    """The environment variables of a process that has an image; they tell it of named images as well."""
    known = {REFERENCES: os.environ[REFERENCES]} if os.environ.get(REFERENCES) else {}
    return known | (image.env_vars() if isinstance(image, Image) else {})


def build_env_vars(image: ImageSpec, values: Mapping[str, bytes]) -> dict[str, str]:
    """The environment variables that the build of an image is given, of the values of its secrets by their names.

    ImageBuildError where one of the values is no text.
    """
    given = {}
    for secret in image.secrets:
        text = as_text(values[secret.name])
        if text is None:
            raise ImageBuildError(
                f"Image {image.name!r}: secret {secret.name!r} is no text, and pip is given secrets as environment "
                "variables."
            )
        if secret.env_var:
            given[secret.env_var] = text
    return given


def references(environ: Mapping[str, str]) -> dict[str, str]:
    """What named images are, as an environment tells it."""
    return named(environ.get(REFERENCES, "").split(","))


def named(images: Iterable[str]) -> dict[str, str]:
    """``name=uri`` as names and URIs; a URI alone is that of ``default``. ValueError where a name has no URI."""
    found = {}
    for image in filter(None, images):
        name, equals, uri = image.partition("=")
        if not name or (equals and not uri):
            raise ValueError(f"{image!r} names no image: write name=uri.")
        found[name if equals else "default"] = uri if equals else name
    return found


def _reads_files(image: Image) -> bool:
    return any(layer.reads_files for layer in image.layers)


@functools.cache
def _arrived(folder: Path) -> dict[str, ImageSpec | None]:
    try:
        plans = json.loads((folder / _SHIPPED).read_text())
    except FileNotFoundError:
        return {}
    return {name: plan and ImageSpec.model_validate(plan) for name, plan in plans.items()}


def _container(image: Image) -> str | None:
    if image.ref_name is not None:
        known = references(os.environ)
        if image.ref_name not in known:
            raise InvalidImageNameError(
                f"No image is called {image.ref_name!r}; known are: {sorted(known) or 'none'}."
                f"{did_you_mean(image.ref_name, known)} "
                f"Name it: flyteray.init(images=['{image.ref_name}=<uri>'])."
            )
        return known[image.ref_name]
    if image.python_version is None or image.base_image is not None:
        return image.base_image or image.uri  # which says what is wrong with an empty base
    return None


def _wanted(image: Image, layer: layers.PipLayer | layers.Pixi) -> Wanted:
    match layer:
        case layers.PipPackages():
            return Wanted(layer.packages)
        case layers.Requirements():
            return manifests.requirements_file(layer.file)
        case layers.UVScript():
            return manifests.script_head(layer.script, layer.head())
        case layers.UVProject():
            _refuse_project(image, layer.install_mode)
            return manifests.uv_project(layer.pyproject, layer.lock)
        case layers.PoetryProject():
            _refuse_project(image, layer.install_mode)
            return manifests.poetry_project(layer.pyproject, layer.lock)
        case layers.Pixi():
            raise ImageBuildError(
                f"Image {image.name!r} asks for the conda packages of {layer.file}, which can't be put under the "
                "Python that a Ray cluster runs. Use packages from PyPI (with_pip_packages, from_uv_script), or a "
                "container (from_base)."
            )
    raise AssertionError(layer)


def _python_of_program(declared: tuple[int, int] | None, files: list[str]) -> str | None:
    """The Python that a program's image asks for where it is another, as a version specifier; a node looks for it."""
    other = [] if declared in (None, sys.version_info[:2]) else [f"=={'.'.join(map(str, declared))}.*"]
    return ",".join([*other, *files]) or None


def _settle_for_the_clusters(image: str, declared: tuple[int, int] | None, files: list[str]) -> None:
    """Say that tasks and apps with an image run the cluster's Python in place of another that it asks for.

    ``files`` is what its files require that is not here; of ``declared`` has been told where it was declared.
    ImageBuildError where ``FLYTERAY_IMAGE_PYTHON`` is ``strict``.
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


def _refuse_project(image: Image, mode: layers.InstallMode) -> None:
    if mode == "install_project":
        raise ImageBuildError(
            f"Image {image.name!r} is to hold the project itself (project_install_mode='install_project'). On Ray your "
            "own modules travel with the code: use 'dependencies_only'."
        )


def _of(wanted: Wanted, options: layers.PipOptions) -> InstallSpec:
    where = []
    if options.index_url:
        where.append(f"--index-url {options.index_url}")
    where += [f"--extra-index-url {url}" for url in options.extra_index_urls]
    if options.pre:
        where.append("--pre")
    lines = (*where, *wanted.requirements)
    layers.refuse_passwords(*lines)
    for secret in options.secret_mounts:  # pip knows ${NAME} only, and Flyte's users write $NAME
        name = secret.as_env_var
        lines = tuple(re.sub(rf"\${name}\b", f"${{{name}}}", line) for line in lines)
    words = tuple(shlex.split(options.extra_args or ""))
    return InstallSpec(requirements=lines, constraints=wanted.constraints, options=words)


def _merged(installs: list[InstallSpec]) -> tuple[InstallSpec, ...]:
    """Neighbours that go by the same options as one, so that pip finds versions that suit all of them."""
    merged: list[InstallSpec] = []
    for install in installs:
        if merged and _options(merged[-1]) == _options(install):
            last = merged[-1]
            more = [line for line in install.requirements if line not in last.requirements]
            merged[-1] = last.model_copy(update={"requirements": (*last.requirements, *more)})
        elif install.requirements:
            merged.append(install)
    return tuple(merged)


def _options(install: InstallSpec) -> tuple[object, ...]:
    flags = [line for line in install.requirements if line.startswith("-")]
    return install.options, install.constraints, flags


def image_secrets(image: Image) -> tuple[SecretSpec, ...]:
    """The secrets that the build of an image is given; ImageBuildError where one of them is to be mounted."""
    installing = [layer for layer in image.layers if isinstance(layer, layers.PipLayer)]
    asked = dict.fromkeys(secret for layer in installing for secret in layer.options.secret_mounts)
    for secret in asked:
        if secret.as_env_var is None:
            raise ImageBuildError(
                f"Image {image.name!r}: pip takes secret {secret.key!r} as an environment variable only: say "
                "as_env_var=... instead of mount."
            )
    return secret_specs(asked)
