"""The context of running user code: how its task calls are carried out, and the facts that it may ask for.

Unbound means plain Python: a task call is then a function call. A worker, a replica or local mode binds these
variables around user code, which reads them through :func:`ctx`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from flyteray._report.report import Report, unseen

if TYPE_CHECKING:
    from flyteray._declare.tasks.task import Task

RAW_DATA_PATH = "_FLYTE_APP_RAW_DATA_PATH"  # where an app's files go: an environment variable, as in Flyte


class TaskRuntime(Protocol):
    """Carries out the task calls that user code makes."""

    def call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and block for its output."""

    async def acall(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and await its output."""

    async def acall_deployed(self, plan: Any, inputs: dict[str, Any]) -> Any:
        """Run a deployed task (``plan``, a TaskPlan) as a child action and await its output."""


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


_NOWHERE = RawDataPath()


@dataclass(frozen=True)
class GroupData:
    """The group that actions are called in; see :func:`group`."""

    name: str


@dataclass(frozen=True)
class TaskContext:
    """The facts that a running task may ask about itself.

    ``mode`` is ``"local"`` in the calling process and ``"remote"`` on a cluster; ``attempt_number``
    counts from 0; ``raw_data_path`` is the URL below which the action's files are kept; ``version`` is the one that
    the task was deployed as, or that the run was given; None where it has none. ``group_data`` is the group that
    :func:`group` has named around here. ``report`` is what :mod:`flyteray.report` writes to;
    without ``report=True`` nobody sees it. ``data`` is for whoever makes a context of their own by :meth:`replace`;
    ``ctx()["key"]`` reads it, and is None where there is no such key.
    """

    action: ActionID
    mode: Literal["local", "remote"] = "remote"
    attempt_number: int = 0
    raw_data_path: RawDataPath = _NOWHERE
    version: str | None = None
    group_data: GroupData | None = None
    report: Report = field(default_factory=unseen, compare=False, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def task_action(self) -> ActionID:
        """Flyte's other name for ``action``."""
        return self.action

    def __getitem__(self, key: str) -> Any:
        return self.data.get(key)

    def replace(self, **changes: Any) -> TaskContext:
        """A copy with other fields; ``data`` is put beside what is there. This one stays as it is."""
        if "data" in changes:
            changes["data"] = {**self.data, **(changes["data"] or {})}
        return replace(self, **changes)

    @property
    def custom_context(self) -> dict[str, str]:
        """The texts that :func:`custom_context` has told."""
        return get_custom_context()

    def is_in_cluster(self) -> bool:
        """Whether the task runs on a cluster rather than in the calling process."""
        return self.mode == "remote"


class NoTaskContext:
    """The answer outside tasks: false, and every attribute reads as None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):  # what Python itself looks for
            raise AttributeError(name)

    def is_in_cluster(self) -> bool:
        """Not in a task, so not in a task on a cluster."""
        return False

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "<outside any task>"


runtime: ContextVar[TaskRuntime | None] = ContextVar("flyteray_runtime", default=None)
task_context: ContextVar[TaskContext | None] = ContextVar("flyteray_task_context", default=None)
# The default is one that can't be changed.
custom: ContextVar[Mapping[str, str]] = ContextVar("flyteray_custom", default=MappingProxyType({}))


@contextmanager
def custom_context(**context: str) -> Iterator[None]:
    """Tell the tasks that are called or run in the ``with`` block something, and those that they call in turn.

    Args:
        context: Texts by name, besides those told around the block. Tasks find them in ``ctx().custom_context`` and by
            :func:`get_custom_context`.

    Raises:
        TypeError: A value that is no str.
    """
    for name, value in context.items():
        if not isinstance(value, str):
            raise TypeError(f"custom_context: {name} must be a str, got {value!r}.")
    token = custom.set({**custom.get(), **context})
    try:
        yield
    finally:
        custom.reset(token)


def get_custom_context() -> dict[str, str]:
    """The texts that :func:`custom_context` or ``with_runcontext(custom_context=...)`` has told; empty without any."""
    return dict(custom.get())


@contextmanager
def group(name: str) -> Iterator[None]:
    """Name the actions that are called in the ``with`` block together. Nothing shows groups yet.

    The task finds the name in ``ctx().group_data``; the tasks that it calls do not. Outside tasks it does nothing.

    Raises:
        TypeError: The name is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"group: the name must be a str, got {name!r}.")
    here = task_context.get()
    token = task_context.set(here and here.replace(group_data=GroupData(name)))
    try:
        yield
    finally:
        task_context.reset(token)


def ctx() -> TaskContext | NoTaskContext:
    """The current task's context, or outside tasks a false object whose attributes are None."""
    return task_context.get() or NoTaskContext()
