"""The context of running user code: how its task calls are carried out, and the facts that it may ask for.

Unbound means plain Python: a task call is then a function call. A worker, a replica or local mode binds these
variables around user code, which reads them through :func:`ctx`.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from flyteray._declare.checkpoint import BaseCheckpoint
from flyteray._declare.facts import (
    NOWHERE,
    ActionID,
    CheckpointPaths,
    CodeBundle,
    GroupData,
    RawDataPath,
)
from flyteray._report.report import Report, unseen

if TYPE_CHECKING:
    from flyteray._declare.tasks.task import Task

RAW_DATA_PATH = "_FLYTE_APP_RAW_DATA_PATH"  # where an app's files go: an environment variable, as in Flyte
ATTEMPT_NUMBER = "FLYTE_ATTEMPT_NUMBER"  # the attempts before this one: an environment variable, as in Flyte


class TaskRuntime(Protocol):
    """Carries out the task calls that user code makes."""

    def call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and block for its output."""

    async def acall(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and await its output."""

    async def acall_deployed(self, plan: Any, inputs: Mapping[str, Any], links: Any = ()) -> Any:
        """Run a deployed task (``plan``, a TaskPlan) as a child action and await its output."""

    def trace(self, name: str, inputs: Mapping[str, object]) -> Trace:
        """Begin a call of a traced function."""


class Outcome(NamedTuple):
    """The end of a call: what it returned, in a list of one, or its error; ``items`` are those of a generator."""

    returned: Sequence[Any]
    error: Exception | None = None
    items: Sequence[Any] = ()

    def value(self) -> Any:
        """The value that was returned; raises the error instead where there is one."""
        if self.error is not None:
            raise self.error
        return self.returned[0]


class Trace(Protocol):
    """One call of a traced function, which is an action."""

    @property
    def action(self) -> ActionID:
        """The action that it is."""

    @property
    def is_near(self) -> bool:
        """Whether its records are on this machine's disk."""

    def current(self) -> AbstractContextManager[None]:
        """Have spans of OpenTelemetry that begin in here be below its own."""

    def recorded(self) -> Outcome | None:
        """The end of the same call in an earlier attempt; None where there was none."""

    def keep(self, outcome: Outcome) -> None:
        """Record how the call has ended."""

    def trace(self, name: str, inputs: Mapping[str, object]) -> Trace:
        """Begin a call of a traced function that this one calls."""


@dataclass(frozen=True)
class TaskContext:
    """The facts that a running task may ask about itself.

    Attributes:
        action: The action that runs; inside a trace, that of the trace.
        mode: ``"local"`` in the calling process, ``"remote"`` on a cluster.
        attempt_number: Which attempt of the action it is, counted from 0.
        raw_data_path: The URL below which the action's files are kept.
        version: The version that the task was deployed as, or that the run was given; None where it has none.
        group_data: The group that :func:`group` has named around here.
        report: What :mod:`flyteray.report` writes to; without ``report=True`` nobody sees it.
        data: For whoever makes a context of their own by :meth:`replace`; ``ctx()["key"]`` reads it, and is None where
            there is no such key.
        traced_by: The action of the task where ``action`` is one of its traces.
        checkpoint: What attempts of the action save for those after them.
        input_path: Of Flyte, which has a file of them. None here: inputs travel with a task.
        output_path: The URL or folder where the action's outputs, logs and report are kept.
        run_base_dir: The URL or folder of the whole run.
        code_bundle: The code that was shipped for it; None where none was, as in local mode.
        interactive_mode: Whether the task was pickled by value, as those of notebooks are.
        disable_run_cache: Whether the run neither reuses nor keeps results.
        run_start_time: When the run was asked for, in UTC: the same for all of its actions and their attempts.
    """

    action: ActionID
    mode: Literal["local", "remote"] = "remote"
    attempt_number: int = 0
    raw_data_path: RawDataPath = NOWHERE
    version: str | None = None
    group_data: GroupData | None = None
    report: Report = field(default_factory=unseen, compare=False, repr=False)
    data: Mapping[str, Any] = field(default_factory=dict, hash=False)
    traced_by: ActionID | None = None
    checkpoint: BaseCheckpoint | None = field(default=None, compare=False, repr=False)
    input_path: str | None = None
    output_path: str = ""
    run_base_dir: str = ""
    code_bundle: CodeBundle | None = field(default=None, hash=False)
    interactive_mode: bool = False
    disable_run_cache: bool = False
    run_start_time: datetime | None = None

    @property
    def task_action(self) -> ActionID:
        """The action of the task: ``action`` itself, but in a traced function, where that is the trace."""
        return self.traced_by or self.action

    @property
    def checkpoint_paths(self) -> CheckpointPaths | None:
        """Where ``checkpoint`` is loaded from and saved; None without one."""
        there = self.checkpoint
        return CheckpointPaths(there.remote_source, there.remote_destination) if there else None

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

    @property
    def rank(self) -> int | None:
        """The number of this process among those that train together: ``RANK``, as launchers set it; None without."""
        return _number("RANK")

    @property
    def local_rank(self) -> int | None:
        """Its number among those of this machine: ``LOCAL_RANK``."""
        return _number("LOCAL_RANK")

    @property
    def world_size(self) -> int | None:
        """How many processes train together: ``WORLD_SIZE``."""
        return _number("WORLD_SIZE")

    @property
    def local_world_size(self) -> int | None:
        """How many of them are on this machine: ``LOCAL_WORLD_SIZE``."""
        return _number("LOCAL_WORLD_SIZE")

    @property
    def node_rank(self) -> int | None:
        """The number of this machine: ``NODE_RANK``, or ``GROUP_RANK``."""
        return _number("NODE_RANK", "GROUP_RANK")

    @property
    def nnodes(self) -> int | None:
        """How many machines there are: ``NNODES``."""
        return _number("NNODES")

    @property
    def master_addr(self) -> str | None:
        """The address where the processes meet: ``MASTER_ADDR``."""
        return os.environ.get("MASTER_ADDR")

    @property
    def master_port(self) -> int | None:
        """The port there: ``MASTER_PORT``."""
        return _number("MASTER_PORT")

    @property
    def restart_attempt(self) -> int | None:
        """How often they were started anew: ``JOBSET_RESTART_ATTEMPT``, or ``TORCHELASTIC_RESTART_COUNT``."""
        return _number("JOBSET_RESTART_ATTEMPT", "TORCHELASTIC_RESTART_COUNT")


def _number(*variables: str) -> int | None:
    """The number in the first of some environment variables that is set; ValueError where it is none."""
    for name in variables:
        if text := os.environ.get(name):
            try:
                return int(text)
            except ValueError:
                raise ValueError(f"{name} is {text!r}, and launchers set it to a whole number.") from None
    return None


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


class PromisedContext:
    """A context that ``make`` makes for the first who asks: most tasks that are short never do."""

    def __init__(self, make: Callable[[], TaskContext]) -> None:
        self._make = make

    @functools.cached_property
    def made(self) -> TaskContext:
        """The context."""
        return self._make()


class BoundContext:
    """The context of the task that runs."""

    def __init__(self) -> None:
        self._bound: ContextVar[TaskContext | PromisedContext | None] = ContextVar(
            "flyteray_task_context", default=None
        )

    def get(self) -> TaskContext | None:
        """The context; None outside tasks."""
        bound = self._bound.get()
        return bound.made if isinstance(bound, PromisedContext) else bound

    def set(self, context: TaskContext | PromisedContext | None) -> Bound:
        """Bind a context until it is :meth:`reset` by the token."""
        return self._bound.set(context)

    def reset(self, token: Bound) -> None:
        """Bind again what was bound before the token's :meth:`set`."""
        self._bound.reset(token)


Bound: TypeAlias = "Token[TaskContext | PromisedContext | None]"


runtime: ContextVar[TaskRuntime | None] = ContextVar("flyteray_runtime", default=None)
task_context = BoundContext()
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
    """Name the actions that are called in the ``with`` block together, for those who look at the run.

    Each action is recorded with the name, by which ``flyteray get run NAME --tree`` shows them together. The task finds
    the name in ``ctx().group_data``; the tasks that it calls do not. The name of the innermost block counts. Outside
    tasks it does nothing.

    Raises:
        TypeError: The name is no str.
    """
    if not isinstance(name, str):
        raise TypeError(f"group: the name must be a str, got {name!r}.")
    token = enter_group(name)
    try:
        yield
    finally:
        task_context.reset(token)


def enter_group(name: str) -> Bound:
    """Be in a group until the context is reset by the token."""
    here = task_context.get()
    return task_context.set(here and here.replace(group_data=GroupData(name)))


def group_name() -> str | None:
    """The name of the group that actions are called in here; None without one."""
    here = task_context.get()
    return here.group_data.name if here and here.group_data else None


def ctx() -> TaskContext | NoTaskContext:
    """The current task's context, or outside tasks a false object whose attributes are None."""
    return task_context.get() or NoTaskContext()
