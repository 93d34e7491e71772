"""Layers are the steps of an image: pure values that know what in them makes two images differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar, Literal, TypedDict

from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray.errors import ImageBuildError

InstallMode = Literal["dependencies_only", "install_project"]

_PASSWORD = re.compile(r"://[^/@\s:]*:(?!\$)[^/@\s]+@(?P<host>[^/\s:]+)")
# https://packaging.python.org/en/latest/specifications/inline-script-metadata/
_SCRIPT = re.compile(r"(?m)^# /// script\s*$\n(?P<content>(?:^#(?:| .*)$\n)+?)^# ///\s*$")


@dataclass(frozen=True)
class Layer:
    """One step; its fields are tuples rather than lists, so that it can be hashed."""

    without_meaning: ClassVar[str | None] = None
    """The part that can't be done on Ray, in words; None where all is done."""

    reads_files: ClassVar[bool] = False
    """Whether its plan is made of the content of files."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            for each in (value, *value) if isinstance(value, tuple) else (value,):
                if isinstance(each, list):
                    raise TypeError(
                        f"{type(self).__name__}: {item.name} must not hold a list, got {each!r}. Pass the items as "
                        "separate arguments: 'vim', 'git' instead of ['vim', 'git']."
                    )

    def content(self) -> str:
        """The difference between two such layers: their first field, or more where a kind says so.

        The content of files rather than their names; FileNotFoundError where one is missing.
        """
        first = getattr(self, fields(self)[0].name)
        return first if isinstance(first, str) else json.dumps(first)

    def validate(self) -> None:
        """Raise what is wrong with the files of it: FileNotFoundError, ValueError or ImageBuildError."""


class PipArguments(TypedDict, total=False):
    """Where and how pip finds packages, as the methods of images take it.

    Keys:
        index_url: Where to look instead of PyPI.
        extra_index_urls: Where to look as well.
        pre: Take pre-releases. Default: False.
        extra_args: More options of ``pip install``, as one text.
        secret_mounts: Secrets that the build may use: ``${NAME}`` in an index URL or a requirement stands for the
            secret whose environment variable that is.
    """

    index_url: str | None
    extra_index_urls: str | Iterable[str] | None
    pre: bool
    extra_args: str | None
    secret_mounts: SecretRequest | None


@dataclass(frozen=True)
class PipOptions:
    """Checked :class:`PipArguments`."""

    index_url: str | None = None
    extra_index_urls: tuple[str, ...] = ()
    pre: bool = False
    extra_args: str | None = None
    secret_mounts: tuple[Secret, ...] = ()

    @classmethod
    def given(cls, pip: PipArguments) -> PipOptions:
        """The options that keyword arguments say. TypeError: pip has none of that name here. ValueError: a password."""
        if unknown := sorted(pip.keys() - PipArguments.__annotations__.keys()):
            names = ", ".join(PipArguments.__annotations__)
            raise TypeError(f"Unexpected keyword arguments: {unknown}. Options of pip are: {names}.")
        urls = pip.get("extra_index_urls") or ()
        return cls(
            index_url=pip.get("index_url"),
            extra_index_urls=(urls,) if isinstance(urls, str) else tuple(urls),
            pre=pip.get("pre", False),
            extra_args=pip.get("extra_args"),
            secret_mounts=mounted(pip.get("secret_mounts")),
        )

    def __post_init__(self) -> None:
        refuse_passwords(self.index_url or "", *self.extra_index_urls, self.extra_args or "")


def mounted(asked: SecretRequest | None) -> tuple[Secret, ...]:
    """The secrets that a build is given."""
    return tuple(as_secrets("secret_mounts of an image", asked))


def refuse_passwords(*texts: str) -> None:
    """Raise ValueError where one has a URL with a password: an image is shown in many places."""
    for text in texts:
        if found := _PASSWORD.search(text):
            raise ValueError(
                f"A URL of {found['host']!r} holds a password, which would be visible wherever the image is. Create "
                "a secret, name it in secret_mounts=[Secret('token', as_env_var='TOKEN')], and write ${TOKEN} "
                "in its place."
            )


@dataclass(frozen=True)
class PipLayer(Layer):
    """A layer that pip installs."""

    options: PipOptions

    def content(self) -> str:
        """The options; kinds of it add what is installed."""
        return repr(self.options)


@dataclass(frozen=True)
class PipPackages(PipLayer):
    """Requirements as pip takes them."""

    packages: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_passwords(*self.packages)

    def content(self) -> str:
        """The options and the packages."""
        return json.dumps([super().content(), *self.packages])


@dataclass(frozen=True)
class Requirements(PipLayer):
    """A requirements file."""

    reads_files = True
    file: Path

    def content(self) -> str:
        """The options and the file's text."""
        return json.dumps([super().content(), self.file.read_text()])

    def validate(self) -> None:
        """The file exists."""
        _require_file(self.file, "Requirements file")


@dataclass(frozen=True)
class UVScript(PipLayer):
    """A script whose head says what it needs."""

    reads_files = True
    script: Path

    def content(self) -> str:
        """The options and the script's head: the rest of the script changes nothing."""
        return json.dumps([super().content(), self.head()])

    def head(self) -> str:
        """The TOML in the script's ``# /// script`` block; empty without one. ValueError: there are two."""
        found = [match["content"] for match in _SCRIPT.finditer(self.script.read_text())]
        if len(found) > 1:
            raise ValueError(f"{self.script} has more than one '# /// script' block: keep one.")
        lines = found[0].splitlines() if found else []
        return "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)

    def validate(self) -> None:
        """The script is a Python file."""
        _require_file(self.script, "uv script")
        if self.script.suffix != ".py":
            raise ValueError(f"uv script {self.script} must end in .py.")


@dataclass(frozen=True)
class Project(PipLayer):
    """The dependencies of a project, at the versions of its lock file where it has one."""

    reads_files = True
    pyproject: Path
    lock: Path | None
    install_mode: InstallMode
    remedy: ClassVar[str] = ""
    """The way to make the lock file, where it must be there."""

    def content(self) -> str:
        """The options and both files."""
        lock = self.lock.read_text() if self.lock else ""
        return json.dumps([super().content(), self.install_mode, self.pyproject.read_text(), lock])

    def validate(self) -> None:
        """The files exist."""
        _require_file(self.pyproject, "Project file")
        if self.lock is not None and not self.lock.exists():
            raise ValueError(f"Lock file {self.lock} does not exist{self.remedy}.")


class UVProject(Project):
    """The dependencies of a project, at the versions of its ``uv.lock`` where it has one."""


class PoetryProject(Project):
    """The dependencies of a project, at the versions of its ``poetry.lock``."""

    lock: Path
    remedy = ": make it with `poetry lock`"


@dataclass(frozen=True)
class Pixi(Layer):
    """Conda packages, which can't be put under Ray's Python: such an image is refused where it is built."""

    file: Path
    lock: Path | None
    environment: str
    extra_args: str | None
    install_mode: InstallMode
    secret_mounts: tuple[Secret, ...] = ()

    def content(self) -> str:
        """The files and the options."""
        files = [path.read_text() for path in (self.file, self.lock) if path]
        return json.dumps([self.environment, self.extra_args, self.install_mode, *files])

    def validate(self) -> None:
        """The files exist and have the names that pixi looks for."""
        _require_file(self.file, "pixi file")
        if self.file.suffix == ".toml" and self.file.name not in ("pixi.toml", "pyproject.toml"):
            raise ValueError(f"pixi manifest {self.file} must be named pixi.toml or pyproject.toml.")
        if self.lock is not None and not self.lock.exists():
            raise ValueError(f"Lock file {self.lock} does not exist.")


@dataclass(frozen=True)
class AptPackages(Layer):
    """Packages of Debian."""

    packages: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    without_meaning = "apt packages"


@dataclass(frozen=True)
class Commands(Layer):
    """Commands of a shell."""

    commands: tuple[str, ...]
    secret_mounts: tuple[Secret, ...] = ()
    without_meaning = "build commands"


@dataclass(frozen=True)
class EnvVars(Layer):
    """Environment variables; those of the environment that uses the image win."""

    env_vars: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Source(Layer):
    """A file or folder that travels with the code.

    ``destination`` is the file's folder, or the folder's own place, relative to the code.
    """

    path: Path
    destination: str
    kind: Literal["file", "folder"]

    def content(self) -> str:
        """Where it goes; its content is part of the code bundle, whose hash covers it."""
        return json.dumps([self.kind, self.destination, self.path.name])

    def validate(self) -> None:
        """The path exists and is what it is said to be."""
        if not self.path.exists():
            raise ImageBuildError(f"Source {self.kind} {self.path.absolute()} does not exist.")
        if self.path.is_dir() is (self.kind == "file"):
            raise ImageBuildError(f"Source {self.kind} {self.path.absolute()} is not a {self.kind}.")


@dataclass(frozen=True)
class CodeBundle(Layer):
    """The code itself, which flyteray ships in any case."""

    copy_style: Literal["loaded_modules", "all"]
    destination: str

    def content(self) -> str:
        """The options."""
        return json.dumps([self.copy_style, self.destination])


@dataclass(frozen=True)
class DockerIgnore(Layer):
    """An ignore file for Docker."""

    path: str
    without_meaning = "a .dockerignore"


@dataclass(frozen=True)
class WorkDir(Layer):
    """A working directory."""

    workdir: str
    without_meaning = "a working directory"


@dataclass(frozen=True)
class LocalWheels(Layer):
    """Wheels that developers of Flyte build: the flyteray of an image is always the cluster's."""

    package: str
    without_meaning = "a development build of Flyte"


def _require_file(path: Path, what: str) -> None:
    if not path.exists():
        raise FileNotFoundError(f"{what} {path.absolute()} does not exist.")
    if not path.is_file():
        raise ValueError(f"{what} {path.absolute()} is not a file.")
