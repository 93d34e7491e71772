"""What a task or app finds installed: declared step by step, built by nobody before it is needed."""

from __future__ import annotations

import hashlib
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import InitVar, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from flyteray._declare.layers import (
    AptPackages,
    CodeBundle,
    Commands,
    DockerIgnore,
    EnvVars,
    InstallMode,
    Layer,
    LocalWheels,
    PipOptions,
    PipPackages,
    Pixi,
    PoetryProject,
    Requirements,
    Source,
    UVProject,
    UVScript,
    WorkDir,
)
from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray.errors import ImageBuildError

_BY_CONSTRUCTOR = object()
_DEFAULT_NAME = "flyteray"


@dataclass(frozen=True, repr=False)
class Image:
    """What a task or app finds installed; made by a ``from_...`` method and extended by ``with_...`` methods.

    On Ray an image of :meth:`from_debian_base` is the cluster's own Python environment with the image's packages in
    front of it: what the cluster has already costs nothing, what differs is installed beside it, once per node, for
    this image's processes only. An image that names a container runs there.

    Every method returns a new image; an image changes nothing until a task or app that asks for it is run.

    Attributes:
        base_image: The URI of a container.
        dockerfile: A file to build one from.
        registry: Where it would be pushed to. Nothing is pushed on Ray.
        name: For people, and the first part of :attr:`uri`.
        python_version: Major and minor. On Ray all processes run the cluster's.
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
            flyte_version: No effect: the flyteray of an image is always the cluster's.
            install_flyte: Likewise.
            registry: See the attributes.
            registry_secret: Likewise.
            name: Likewise.
            platform: Likewise.
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

        It must hold the cluster's versions of Python, Ray and flyteray, and the nodes need ``podman``.

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
        index_url: str | None = None,
        extra_index_urls: str | Iterable[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        platform: tuple[str, ...] | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """What the head of a script (``# /// script``) says that it needs.

        Args:
            script: A Python file.
            name: See the attributes.
            registry: Likewise.
            registry_secret: Likewise.
            python_version: As in :meth:`from_debian_base`.
            index_url: As in :meth:`with_pip_packages`, as all that follow.
            extra_index_urls: Likewise.
            pre: Likewise.
            extra_args: Likewise.
            platform: See the attributes.
            secret_mounts: As in :meth:`with_pip_packages`.

        Raises:
            ValueError: The file does not end in ``.py``.
        """
        path = _with_suffix(script, ".py", "A uv script")
        _warn_of_python(python_version)
        base = cls.from_debian_base(None, None, False, registry, registry_secret, name, platform)
        options = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return base._add(UVScript(options=options, script=path))

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
        path = _with_suffix(script, ".py", "A pixi script")
        base = cls.from_debian_base(None, None, False, registry, registry_secret, name, platform)
        return base._add(
            Pixi(path, None, environment, extra_args, "dependencies_only", _secrets(secret_mounts))
        )

    @classmethod
    def from_dockerfile(
        cls,
        file: str | Path,
        registry: str,
        name: str,
        platform: str | tuple[str, ...] | None = None,
    ) -> Image:
        """A container image to be built from a Dockerfile. It can be declared; nothing on a Ray cluster builds it."""
        return _new(
            dockerfile=Path(file), registry=registry, name=name, platform=_tuple(platform), _cloned=True
        )

    # What to add

    def with_pip_packages(
        self,
        *packages: str,
        index_url: str | None = None,
        extra_index_urls: str | Iterable[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """Packages from an index, as pip takes them: ``"pandas"``, ``"torch==2.4.0"``.

        Args:
            packages: Requirements. Those that the cluster's environment meets already are not installed again.
            index_url: Where to look instead of PyPI.
            extra_index_urls: Where to look as well.
            pre: Take pre-releases.
            extra_args: More options of ``pip install``, as one text.
            secret_mounts: Secrets that the build may use: ``${NAME}`` in an index URL or a requirement stands for the
                secret whose environment variable that is.

        Raises:
            TypeError: A list instead of separate arguments.
            ValueError: A password in a URL; it would be visible wherever the image is.
        """
        options = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return self._add(PipPackages(options=options, packages=packages))

    def with_requirements(
        self,
        file: str | Path,
        index_url: str | None = None,
        extra_index_urls: str | Iterable[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
    ) -> Image:
        """What a requirements file lists; options as in :meth:`with_pip_packages`.

        Raises:
            ValueError: The file does not end in ``.txt``.
        """
        path = _with_suffix(file, ".txt", "A requirements file")
        options = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return self._add(Requirements(options=options, file=path))

    def with_uv_project(
        self,
        pyproject_file: str | Path,
        uvlock: str | Path | None = None,
        index_url: str | None = None,
        extra_index_urls: str | Iterable[str] | None = None,
        pre: bool = False,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        project_install_mode: InstallMode = "dependencies_only",
    ) -> Image:
        """The dependencies of a project, at the versions that its ``uv.lock`` fixes.

        Args:
            pyproject_file: Its ``pyproject.toml``.
            uvlock: The lock file; by default the one beside it, if there is one.
            index_url: As in :meth:`with_pip_packages`, as all that follow.
            extra_index_urls: Likewise.
            pre: Likewise.
            extra_args: Likewise.
            secret_mounts: Likewise.
            project_install_mode: On Ray the project's own modules travel with the code, so only
                ``"dependencies_only"`` can be built.
        """
        pyproject = Path(pyproject_file)
        beside = pyproject.parent / "uv.lock"
        lock = Path(uvlock) if uvlock is not None else beside if beside.exists() else None
        options = _options(index_url, extra_index_urls, pre, extra_args, secret_mounts)
        return self._add(
            UVProject(options, pyproject=pyproject, lock=lock, install_mode=project_install_mode)
        )

    def with_poetry_project(
        self,
        pyproject_file: str | Path,
        poetry_lock: str | Path | None = None,
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        project_install_mode: InstallMode = "dependencies_only",
    ) -> Image:
        """The dependencies of a project, at the versions that its ``poetry.lock`` (by default the one beside) fixes."""
        pyproject = Path(pyproject_file)
        lock = Path(poetry_lock) if poetry_lock is not None else pyproject.parent / "poetry.lock"
        options = _options(None, None, False, extra_args, secret_mounts)
        return self._add(
            PoetryProject(options, pyproject=pyproject, lock=lock, install_mode=project_install_mode)
        )

    def with_pixi_project(
        self,
        manifest_file: str | Path,
        pixi_lock: str | Path | None = None,
        environment: str = "default",
        extra_args: str | None = None,
        secret_mounts: SecretRequest | None = None,
        project_install_mode: InstallMode = "dependencies_only",
    ) -> Image:
        """A project of conda packages. It can be declared; Ray's workers can't be given them."""
        manifest = Path(manifest_file)
        if manifest.is_dir():
            pixi = manifest / "pixi.toml"
            manifest = pixi if pixi.exists() else manifest / "pyproject.toml"
        beside = manifest.parent / "pixi.lock"
        lock = Path(pixi_lock) if pixi_lock is not None else beside if beside.exists() else None
        secrets = _secrets(secret_mounts)
        return self._add(Pixi(manifest, lock, environment, extra_args, project_install_mode, secrets))

    def with_apt_packages(self, *packages: str, secret_mounts: SecretRequest | None = None) -> Image:
        """Packages of Debian, which Ray's nodes can't be given: a warning says so.

        Raises:
            TypeError: A list instead of separate arguments.
        """
        return self._add(AptPackages(packages, _secrets(secret_mounts)))

    def with_commands(self, commands: Iterable[str], secret_mounts: SecretRequest | None = None) -> Image:
        """Commands of a build, which Ray's nodes don't run: a warning says so."""
        told = (commands,) if isinstance(commands, str) else tuple(commands)
        return self._add(Commands(told, _secrets(secret_mounts)))

    def with_env_vars(self, env_vars: Mapping[str, str]) -> Image:
        """Environment variables; those of the environment that uses the image win.

        Raises:
            TypeError: Something else than a mapping of str to str.
        """
        if not isinstance(env_vars, Mapping) or not all(
            isinstance(text, str) for pair in env_vars.items() for text in pair
        ):
            raise TypeError(f"env_vars of an image must map str to str, got {env_vars!r}.")
        return self._add(EnvVars(tuple(env_vars.items())))

    def with_source_file(self, src: str | Path | list[Path], dst: str = ".") -> Image:
        """Files that travel with the code, into the folder ``dst`` of it.

        Raises:
            ValueError: Two of them have one name.
        """
        paths = [Path(path) for path in (src if isinstance(src, list) else [src])]
        names = [path.name for path in paths]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Several files would be put at {dst!r} under one name: {twice}.")
        image = self
        for path in paths:
            image = image._add(Source(path, dst, "file"))
        return image

    def with_source_folder(self, src: str | Path, dst: str = ".", copy_contents_only: bool = False) -> Image:
        """A folder that travels with the code.

        Args:
            src: The folder.
            dst: Where it is put, relative to the code. ``"."`` is a folder of its own name beside the code.
            copy_contents_only: With ``dst="."``: put what is in it there, instead of the folder.
        """
        path = Path(src)
        where = path.name if dst == "." and not copy_contents_only else dst
        return self._add(Source(path, where, "folder"))

    def with_code_bundle(
        self, copy_style: Literal["loaded_modules", "all"] = "loaded_modules", dst: str = "."
    ) -> Image:
        """The code itself. On Ray it travels in a bundle of its own in any case, so this changes nothing."""
        return self._add(CodeBundle(copy_style, dst))

    def with_dockerignore(self, path: str | Path) -> Image:
        """An ignore file of Docker, which has no meaning on Ray: a warning says so."""
        return self._add(DockerIgnore(str(path)))

    def with_workdir(self, workdir: str) -> Image:
        """A working directory, which has no meaning on Ray: a warning says so."""
        return self._add(WorkDir(workdir))

    def with_local_v2(self) -> Image:
        """A development build of Flyte, which has no meaning on Ray: a warning says so."""
        return self._add(LocalWheels("flyte"))

    def with_local_rs_controller(self) -> Image:
        """Likewise, of its controller."""
        return self._add(LocalWheels("flyte_controller_base"))

    def with_local_v2_plugins(self, plugins: str | list[str] | None = None) -> Image:
        """Likewise, of its plugins.

        Raises:
            ValueError: A name that is no plugin's.
        """
        image = self
        for plugin in [plugins] if isinstance(plugins, str) else plugins or []:
            if not plugin.startswith("flyteplugins-"):
                raise ValueError(f"Plugin {plugin!r} must start with 'flyteplugins-'.")
            image = image._add(LocalWheels(plugin.replace("-", "_")))
        return image

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
        kept = {key: value for key, value in changed.items() if value is not None}
        copy = replace(self, **kept, _cloned=True, _made_by=_BY_CONSTRUCTOR)
        return copy if addl_layer is None else self._extended(copy, addl_layer)

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
        digest = hashlib.sha256()
        for text in (self.base_image or "", self.dockerfile.read_text() if self.dockerfile else ""):
            digest.update(f"{text}\0".encode())
        digest.update(repr((self.python_version, self.ref_name)).encode())
        for layer in self.layers:
            digest.update(f"\0{type(layer).__name__}\0{layer.content()}".encode())
        named = f"{self.registry}/{self.name}" if self.registry else self.name
        return f"{named}:{digest.hexdigest()[:12]}"

    @property
    def is_bare_container(self) -> bool:
        """Whether it is nothing but the URI of a container."""
        return not self._cloned and self.ref_name is None and self.python_version is None

    def env_vars(self) -> dict[str, str]:
        """Its environment variables; later layers win."""
        return {
            key: value for layer in self.layers if isinstance(layer, EnvVars) for key, value in layer.env_vars
        }

    def sources(self) -> list[Source]:
        """What of it travels with the code."""
        return [layer for layer in self.layers if isinstance(layer, Source)]

    def __repr__(self) -> str:
        told = [
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if not item.name.startswith("_") and getattr(self, item.name) != item.default
        ]
        return f"Image({', '.join(told)})"

    def _add(self, layer: Layer) -> Image:
        if layer.without_meaning is not None:
            warnings.warn(
                f"Image {self.name!r}: {layer.without_meaning} ({layer.content()}) can't be added on Ray, whose "
                "processes run on the nodes as they are: put it on the nodes.",
                UserWarning,
                stacklevel=3,
            )
        return self._extended(replace(self, _cloned=True, _made_by=_BY_CONSTRUCTOR), layer)

    def _extended(self, copy: Image, layer: Layer) -> Image:
        if self.dockerfile is not None:
            raise ValueError(
                "Nothing can be added to an image of a Dockerfile: write it into the Dockerfile."
            )
        if not self.extendable:
            raise ValueError(
                f"Nothing can be added to the image {self.base_image or self.name!r} as it is: "
                "clone(name=..., extendable=True) it first."
            )
        if not copy.name:
            raise ValueError(
                "Nothing can be added to an image without a name: clone(name=..., extendable=True)."
            )
        return replace(copy, layers=(*self.layers, layer), _made_by=_BY_CONSTRUCTOR)


@dataclass(frozen=True)
class ImageBuild:
    """What :func:`flyteray.build` returns.

    Attributes:
        uri: The image's name with the hash of its content; None where it is still being built.
        remote_run: Always None: nodes build for themselves.
        build_run: Likewise.
    """

    uri: str | None
    remote_run: None = None
    build_run: None = None


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
            f"it was started with, {here[0]}.{here[1]} here.",
            UserWarning,
            stacklevel=3,
        )


def _options(
    index_url: str | None,
    extra_index_urls: str | Iterable[str] | None,
    pre: bool,
    extra_args: str | None,
    secret_mounts: SecretRequest | None,
) -> PipOptions:
    return PipOptions(index_url, _tuple(extra_index_urls), pre, extra_args, _secrets(secret_mounts))


def _tuple(texts: str | Iterable[str] | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts or ())


def _secret(secret: str | Secret | None) -> Secret | None:
    return Secret(secret) if isinstance(secret, str) else secret


def _secrets(asked: SecretRequest | None) -> tuple[Secret, ...]:
    return tuple(as_secrets("secret_mounts of an image", asked))


def _with_suffix(file: str | Path, suffix: str, what: str) -> Path:
    path = Path(file)
    if path.suffix != suffix:
        raise ValueError(f"{what} must end in {suffix}, got {str(file)!r}.")
    return path
