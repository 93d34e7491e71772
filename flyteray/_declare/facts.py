"""Facts of a run and of an action, as running code is told them and under the names that Flyte has for them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

Role = Literal["read", "invoke", "deploy", "admin"]
"""What the owner of a key may do: ask how things are, use apps, have tasks and apps run, all."""
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
Priority = Literal["low", "normal", "high"]
"""Whose requests go first where an app has more to do than it takes at one time."""
PRIORITIES: tuple[Priority, ...] = get_args(Priority)


APP_NAME = re.compile("[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
"""The names of apps: parts of their addresses."""


class Owner(NamedTuple):
    """A project, domain and organisation of Flyte; None where nobody has said it. Ray has no such thing."""

    project: str | None = None
    domain: str | None = None
    org: str | None = None


@dataclass(frozen=True)
class CodeBundle:
    """Code as Flyte ships it, for :class:`SerializationContext`; on Ray it travels by other ways.

    Raises:
        ValueError: Neither ``tgz`` nor ``pkl``.
    """

    computed_version: str
    destination: str = "."
    tgz: str | None = None
    pkl: str | None = None
    downloaded_path: Path | None = None
    files: list[str] | None = None

    def __post_init__(self) -> None:
        if self.tgz is None and self.pkl is None:
            raise ValueError("A CodeBundle needs the address of its archive: tgz=... or pkl=...")

    def with_downloaded_path(self, path: Path) -> CodeBundle:
        """A copy that is unpacked there."""
        return replace(self, downloaded_path=path)


@dataclass(frozen=True)
class SerializationContext:
    """The facts that are known of an app when its subdomain is made: ``version`` is empty unless it was named.

    The fields behind ``org`` are for programs that ask an app for its container's words; flyteray sets none of them.
    """

    version: str = ""
    project: str | None = None
    domain: str | None = None
    org: str | None = None
    code_bundle: CodeBundle | None = None
    input_path: str = "{{.input}}"
    output_path: str = "{{.outputPrefix}}"
    interpreter_path: str = "/opt/venv/bin/python"
    image_cache: Any = None
    root_dir: Path | None = None


@dataclass(frozen=True)
class ActionID:
    """The name of an action and of its run, whose root action is ``a0``. ``run_name`` is ``name`` unless it is given.

    ``project``, ``domain`` and ``org`` are those that whoever ran it has named; None where nobody did.
    """

    name: str
    run_name: str = ""
    project: str | None = None
    domain: str | None = None
    org: str | None = None

    def __post_init__(self) -> None:
        if not self.run_name:
            object.__setattr__(self, "run_name", self.name)


class RawDataPath(str):
    """The URL or folder below which files are kept: a str, which ``path`` is as well, as in Flyte."""

    __slots__ = ()

    def __new__(cls, path: str = "") -> RawDataPath:
        return super().__new__(cls, path)

    @property
    def path(self) -> str:
        """The URL or folder."""
        return str(self)

    def get_random_remote_path(self, file_name: str | None = None) -> str:
        """A path below it that nothing has, for ``file_name`` where it is given; nothing is made there."""
        import uuid  # deferred: few ask for one

        place = f"{self.rstrip('/')}/{uuid.uuid4().hex}"
        return f"{place}/{file_name}" if file_name else place


NOWHERE = RawDataPath()


@dataclass(frozen=True)
class GroupData:
    """The group that actions are called in; see :func:`flyteray.group`."""

    name: str


class CheckpointPaths(NamedTuple):
    """Where checkpoints of an action are kept: that of its last attempt, and that of this one."""

    prev_checkpoint_path: str | None
    checkpoint_path: str | None
