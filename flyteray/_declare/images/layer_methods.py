"""An image is extended by one method a kind of layer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flyteray._declare.env_vars import checked_env_vars
from flyteray._declare.images.layers import (
    AptPackages,
    CodeBundle,
    Commands,
    DockerIgnore,
    EnvVars,
    InstallMode,
    Layer,
    LocalWheels,
    PipArguments,
    PipOptions,
    PipPackages,
    Pixi,
    PoetryProject,
    Requirements,
    Source,
    UVProject,
    WorkDir,
    mounted,
)
from flyteray._declare.secret import SecretRequest

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack


class LayerMethods(ABC):
    """Something that layers are added to. Every method returns a new one."""

    layers: tuple[Layer, ...]

    @abstractmethod
    def _add(self, layer: Layer) -> Self:
        """A copy with one more layer; warns of one that means nothing on Ray."""

    def with_pip_packages(self, *packages: str | tuple[str, ...], **pip: Unpack[PipArguments]) -> Self:
        """Packages from an index, as pip takes them: ``"pandas"``, ``"torch==2.4.0"``.

        Args:
            packages: Requirements, or tuples of them. Those that the cluster's environment meets already are not
                installed again.
            pip: ``index_url``, ``extra_index_urls``, ``pre``, ``extra_args`` and ``secret_mounts``; see
                :class:`PipArguments`.

        Raises:
            TypeError: A list instead of separate arguments, or no such option of pip.
            ValueError: A password in a URL; it would be visible wherever the image is.
        """
        each = tuple(name for one in packages for name in (one if isinstance(one, tuple) else (one,)))
        return self._add(PipPackages(PipOptions.given(pip), packages=each))

    def with_requirements(self, file: str | Path, **pip: Unpack[PipArguments]) -> Self:
        """The packages that a requirements file lists; ``pip`` as in :meth:`with_pip_packages`.

        Raises:
            ValueError: The file does not end in ``.txt``.
        """
        path = with_suffix(file, ".txt", "A requirements file")
        return self._add(Requirements(PipOptions.given(pip), file=path))

    def with_uv_project(
        self,
        pyproject_file: str | Path,
        uvlock: str | Path | None = None,
        *,
        project_install_mode: InstallMode = "dependencies_only",
        **pip: Unpack[PipArguments],
    ) -> Self:
        """The dependencies of a project, at the versions that its ``uv.lock`` fixes.

        Args:
            pyproject_file: Its ``pyproject.toml``.
            uvlock: The lock file; by default the one beside it, if there is one.
            project_install_mode: On Ray the project's own modules travel with the code, so only
                ``"dependencies_only"`` can be built.
            pip: As in :meth:`with_pip_packages`.
        """
        pyproject = Path(pyproject_file)
        beside = pyproject.parent / "uv.lock"
        lock = Path(uvlock) if uvlock is not None else beside if beside.exists() else None
        options = PipOptions.given(pip)
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
    ) -> Self:
        """The dependencies of a project, at the versions that its ``poetry.lock`` (by default the one beside) fixes."""
        pyproject = Path(pyproject_file)
        lock = Path(poetry_lock) if poetry_lock is not None else pyproject.parent / "poetry.lock"
        options = PipOptions.given({"extra_args": extra_args, "secret_mounts": secret_mounts})
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
    ) -> Self:
        """A project of conda packages. It can be declared; Ray's workers can't be given them."""
        manifest = Path(manifest_file)
        if manifest.is_dir():
            pixi = manifest / "pixi.toml"
            manifest = pixi if pixi.exists() else manifest / "pyproject.toml"
        beside = manifest.parent / "pixi.lock"
        lock = Path(pixi_lock) if pixi_lock is not None else beside if beside.exists() else None
        secrets = mounted(secret_mounts)
        return self._add(Pixi(manifest, lock, environment, extra_args, project_install_mode, secrets))

    def with_apt_packages(self, *packages: str, secret_mounts: SecretRequest | None = None) -> Self:
        """Packages of Debian, which Ray's nodes can't be given: a warning says so.

        Raises:
            TypeError: A list instead of separate arguments.
        """
        return self._add(AptPackages(packages, mounted(secret_mounts)))

    def with_commands(self, commands: Iterable[str], secret_mounts: SecretRequest | None = None) -> Self:
        """Commands of a build, which Ray's nodes don't run: a warning says so."""
        lines = (commands,) if isinstance(commands, str) else tuple(commands)
        return self._add(Commands(lines, mounted(secret_mounts)))

    def with_env_vars(self, env_vars: Mapping[str, str | float]) -> Self:
        """Environment variables; those of the environment that uses the image win. A number counts as its text.

        Raises:
            TypeError: Something else than a mapping of str to str.
            ValueError: A name or a value that no process can be started with.
        """
        if isinstance(env_vars, Mapping):
            env_vars = {name: _text(value) for name, value in env_vars.items()}
        return self._add(EnvVars(tuple(checked_env_vars("with_env_vars", env_vars).items())))

    def with_source_file(self, src: str | Path | list[Path], dst: str = ".") -> Self:
        """Files that travel with the code, into the folder ``dst`` of it. ValueError: two of them have one name."""
        paths = [Path(path) for path in (src if isinstance(src, list) else [src])]
        names = [path.name for path in paths]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"Several files would be put at {dst!r} under one name: {twice}.")
        image = self
        for path in paths:
            image = image._add(Source(path, dst, "file"))
        return image

    def with_source_folder(self, src: str | Path, dst: str = ".", copy_contents_only: bool = False) -> Self:
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
    ) -> Self:
        """The code itself. On Ray it travels in a bundle of its own in any case, so this changes nothing."""
        return self._add(CodeBundle(copy_style, dst))

    def with_dockerignore(self, path: str | Path) -> Self:
        """An ignore file of Docker, which has no meaning on Ray: a warning says so."""
        return self._add(DockerIgnore(str(path)))

    def with_workdir(self, workdir: str) -> Self:
        """A working directory, which has no meaning on Ray: a warning says so."""
        return self._add(WorkDir(workdir))

    def with_local_v2(self) -> Self:
        """A development build of Flyte, which has no meaning on Ray: a warning says so."""
        return self._add(LocalWheels("flyte"))

    def with_local_rs_controller(self) -> Self:
        """A development build of Flyte's controller, which has no meaning on Ray: a warning says so."""
        return self._add(LocalWheels("flyte_controller_base"))

    def with_local_v2_plugins(self, plugins: str | list[str] | None = None) -> Self:
        """Development builds of Flyte's plugins, which have no meaning on Ray: a warning says so.

        Raises:
            ValueError: A name that is no plugin's.
        """
        image = self
        for plugin in [plugins] if isinstance(plugins, str) else plugins or []:
            if not plugin.startswith("flyteplugins-"):
                raise ValueError(f"Plugin {plugin!r} must start with 'flyteplugins-'.")
            image = image._add(LocalWheels(plugin.replace("-", "_")))
        return image

    def env_vars(self) -> dict[str, str]:
        """The environment variables of it; later layers win."""
        return {
            key: value for layer in self.layers if isinstance(layer, EnvVars) for key, value in layer.env_vars
        }

    def sources(self) -> list[Source]:
        """The files and folders of it that travel with the code."""
        return [layer for layer in self.layers if isinstance(layer, Source)]


def _text(value: str | float) -> str:
    return str(value) if isinstance(value, (int, float)) else value


def with_suffix(file: str | Path, suffix: str, what: str) -> Path:
    """The path of a file; ValueError where it does not end as it must."""
    path = Path(file)
    if path.suffix != suffix:
        raise ValueError(f"{what} must end in {suffix}, got {str(file)!r}.")
    return path
