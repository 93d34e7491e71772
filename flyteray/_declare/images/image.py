"""An image says what a task or app finds installed; it is declared step by step, and built when it is needed."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterable
from dataclasses import InitVar, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flyteray._declare.images.layer_methods import LayerMethods, with_suffix
from flyteray._declare.images.layers import Layer, PipArguments, PipOptions, Pixi, UVScript, mounted
from flyteray._declare.secret import Secret, SecretRequest
from flyteray.errors import ImageBuildError

if TYPE_CHECKING:
    from typing_extensions import Unpack

_BY_CONSTRUCTOR = object()
_DEFAULT_NAME = "flyteray"


@dataclass(frozen=True, repr=False)
class Image(LayerMethods):
    """The software that a task or app finds installed; made by ``from_...`` methods, extended by ``with_...`` methods.

    On Ray an image of :meth:`from_debian_base` is the cluster's own Python environment with the image's packages in
    front of it: what the cluster has already costs nothing, what differs is installed beside it, once per node, for
    this image's processes only. Packages that Ray can't live with are refused by name; an app that is a program
    (``args``, ``command``) may have any. An image that names a container runs there.

    Every method returns a new image; an image changes nothing until a task or app that asks for it is run.

    Attributes:
        base_image: The URI of a container.
        dockerfile: A file to build one from.
        registry: Where it would be pushed to. Nothing is pushed on Ray.
        name: For people, and the first part of :attr:`uri`.
        python_version: Major and minor. A program gets it where ``uv`` finds it on the node. All others run the
            cluster's: for another one a warning says so, or with ``FLYTERAY_IMAGE_PYTHON=strict`` it is refused.
        platform: Kinds of machines.
        extendable: Whether layers can be added.
        ref_name: A name that ``flyteray.init(images=...)`` tells the URI of.
        layers: What is added to the base.

    Raises:
        TypeError: Made directly.
    """

    base_image: str | None = None
    dockerfile: Path | None = None
    registry: str | None = None
    registry_secret: Secret | None = None
    name: str | None = None
    python_version: tuple[int, int] | None = None
    platform: tuple[str, ...] = ()
    extendable: bool = False
    ref_name: str | None = None
    layers: tuple[Layer, ...] = ()
    _cloned: bool = False
    _made_by: InitVar[object] = None

    def __post_init__(self, _made_by: object) -> None:
        if _made_by is not _BY_CONSTRUCTOR:
            raise TypeError(
                "An Image can't be made directly: start from Image.from_debian_base(), Image.from_base(uri) or "
                "another from_... method."
            )

    # Where to start

    @classmethod
    def from_debian_base(
        cls,
        python_version: tuple[int, int] | None = None,
        flyte_version: str | None = None,
        install_flyte: bool = True,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        name: str | None = None,
        platform: tuple[str, ...] | None = None,
    ) -> Image:
        """The cluster's own Python environment, to be extended.

        Args:
            python_version: ``(3, 11)``. Another one than this Python's draws a warning: all processes of a Ray
                cluster run one Python.
            flyte_version, install_flyte: No effect: the flyteray of an image is always the cluster's.
            registry, registry_secret, name, platform: See the attributes.
        """
        _warn_of_python(python_version)
        return _new(
            registry=registry,
            registry_secret=_secret(registry_secret),
            name=name or _DEFAULT_NAME,
            python_version=python_version or sys.version_info[:2],
            platform=_tuple(platform),
            extendable=True,
        )

    @classmethod
    def from_base(cls, image_uri: str) -> Image:
        """A container image that exists. To add to it, ``clone(name=..., extendable=True)`` it first.

        It must hold the cluster's versions of Python, Ray and flyteray, and the nodes need ``podman``, unless they run
        in that image themselves and are told so (``FLYTERAY_CONTAINER``), as pods of Kubernetes can.

        Args:
            image_uri: ``registry/name:tag``.
        """
        return _new(base_image=image_uri)

    @classmethod
    def from_ref_name(cls, name: str = "default") -> Image:
        """The container image that ``flyteray.init(images=["name=uri"])`` tells of; looked up when it is used."""
        return _new(name=name, ref_name=name)

    @classmethod
    def from_uv_script(
        cls,
        script: str | Path,
        *,
        name: str,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        python_version: tuple[int, int] | None = None,
        platform: tuple[str, ...] | None = None,
        **pip: Unpack[PipArguments],
    ) -> Image:
        """The packages that the head of a script (``# /// script``) names.

        Args:
            script: A Python file.
            name, registry, registry_secret, platform: See the attributes.
            python_version: As in :meth:`from_debian_base`.
            pip: As in :meth:`with_pip_packages`.

        Raises:
            ValueError: The file does not end in ``.py``.
        """
        path = with_suffix(script, ".py", "A uv script")
        _warn_of_python(python_version)
        base = cls.from_debian_base(
            registry=registry, registry_secret=registry_secret, name=name, platform=platform
        )
        return base._add(UVScript(PipOptions.given(pip), script=path))

    @classmethod
    def from_pixi_script(
        cls,
        script: str | Path,
        *,
        name: str,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        environment: str = "default",
        extra_args: str | None = None,
        platform: tuple[str, ...] | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """A script that needs conda packages. It can be declared; Ray's workers can't be given them.

        Raises:
            ValueError: The file does not end in ``.py``.
        """
        path = with_suffix(script, ".py", "A pixi script")
        base = cls.from_debian_base(
            registry=registry, registry_secret=registry_secret, name=name, platform=platform
        )
        return base._add(
            Pixi(path, None, environment, extra_args, "dependencies_only", mounted(secret_mounts))
        )

    @classmethod
    def from_dockerfile(
        cls, file: str | Path, registry: str, name: str, platform: str | tuple[str, ...] | None = None
    ) -> Image:
        """A container image to be built from a Dockerfile. It can be declared; nothing on a Ray cluster builds it."""
        return _new(
            dockerfile=Path(file), registry=registry, name=name, platform=_tuple(platform), _cloned=True
        )

    def clone(
        self,
        registry: str | None = None,
        registry_secret: str | Secret | None = None,
        name: str | None = None,
        base_image: str | None = None,
        python_version: tuple[int, int] | None = None,
        addl_layer: Layer | None = None,
        extendable: bool | None = None,
        platform: str | tuple[str, ...] | None = None,
    ) -> Image:
        """A copy with other properties; None keeps what is there.

        Raises:
            ValueError: A layer for an image that can't be extended, is of a Dockerfile, or has no name.
        """
        _warn_of_python(python_version)
        changed: dict[str, Any] = {
            "registry": registry,
            "registry_secret": _secret(registry_secret),
            "name": name,
            "base_image": base_image,
            "python_version": python_version,
            "extendable": extendable,
            "platform": _tuple(platform) or None,
        }
        values = {key: value for key, value in changed.items() if value is not None}
        copy = replace(self, **values, _cloned=True, _made_by=_BY_CONSTRUCTOR)
        return copy if addl_layer is None else _extended(self, copy, addl_layer)

    # What it is

    def validate(self) -> None:
        """Raise what is wrong with its files: FileNotFoundError, ValueError or ImageBuildError."""
        if self.dockerfile is not None and not self.dockerfile.is_file():
            raise ImageBuildError(f"Dockerfile {self.dockerfile.absolute()} does not exist.")
        for layer in self.layers:
            layer.validate()

    @property
    def uri(self) -> str:
        """``name:<hash of the content>``, or the URI that :meth:`from_base` was given.

        Raises:
            ImageBuildError: An empty base, or a name that is still to be looked up.
            FileNotFoundError: A file of it is missing.
        """
        if self.is_bare_container:
            if not self.base_image or not isinstance(self.base_image, str):
                raise ImageBuildError(
                    f"Image.from_base() was given {self.base_image!r}, perhaps from a variable that is not set. Give "
                    "the URI of a container image: <registry>/<name>:<tag>."
                )
            return self.base_image
        named = f"{self.registry}/{self.name}" if self.registry else self.name
        return f"{named}:{_content_hash(self)[:12]}"

    @property
    def is_bare_container(self) -> bool:
        """Whether it is nothing but the URI of a container."""
        return not self._cloned and self.ref_name is None and self.python_version is None

    def __repr__(self) -> str:
        parts = [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if not item.name.startswith("_") and getattr(self, item.name) != item.default
        ]
        return f"Image({', '.join(parts)})"

    def _add(self, layer: Layer) -> Image:
        if layer.without_meaning is not None:
            warnings.warn(
                f"Image {self.name!r}: {layer.without_meaning} ({layer.content()}) can't be added on Ray, whose "
                "processes run on the nodes as they are: put it on the nodes.",
                UserWarning,
                stacklevel=3,
            )
        return _extended(self, replace(self, _cloned=True, _made_by=_BY_CONSTRUCTOR), layer)


@dataclass(frozen=True)
class ImageBuild:
    """An image that :func:`flyteray.build` has built.

    Attributes:
        uri: The image's name with the hash of its content; None where it is still being built.
        remote_run, build_run: Always None: nodes build for themselves.
    """

    uri: str | None
    remote_run: None = None
    build_run: None = None


def _extended(image: Image, copy: Image, layer: Layer) -> Image:
    if image.dockerfile is not None:
        raise ValueError("Nothing can be added to an image of a Dockerfile: write it into the Dockerfile.")
    if not image.extendable:
        raise ValueError(
            f"Nothing can be added to the image {image.base_image or image.name!r} as it is: "
            "clone(name=..., extendable=True) it first."
        )
    if not copy.name:
        raise ValueError("Nothing can be added to an image without a name: clone(name=..., extendable=True).")
    return replace(copy, layers=(*image.layers, layer), _made_by=_BY_CONSTRUCTOR)


def _content_hash(image: Image) -> str:
    digest = hashlib.sha256()
    for text in (image.base_image or "", image.dockerfile.read_text() if image.dockerfile else ""):
        digest.update(f"{text}\0".encode())
    digest.update(repr((image.python_version, image.ref_name)).encode())
    for layer in image.layers:
        digest.update(f"\0{type(layer).__name__}\0{layer.content()}".encode())
    return digest.hexdigest()


def _new(**given: Any) -> Image:
    return Image(**given, _made_by=_BY_CONSTRUCTOR)


def _warn_of_python(wanted: tuple[int, int] | None) -> None:
    if wanted is None:
        return
    if not isinstance(wanted, tuple) or len(wanted) != 2 or not all(isinstance(part, int) for part in wanted):
        raise TypeError(f"python_version must be a pair of numbers such as (3, 11), got {wanted!r}.")
    here = sys.version_info[:2]
    if wanted != here:
        warnings.warn(
            f"An image asks for Python {wanted[0]}.{wanted[1]}, but all processes of a Ray cluster run the one that "
            f"it was started with, {here[0]}.{here[1]} here, which is taken. A program (args, command) gets the one "
            "that is asked for where uv finds it on the node.",
            UserWarning,
            stacklevel=3,
        )


def _tuple(texts: str | Iterable[str] | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def _secret(secret: str | Secret | None) -> Secret | None:
    return Secret(secret) if isinstance(secret, str) else secret
