"""What is bound around running user code: how task calls are carried out, what the code may ask about itself.

Unbound means plain Python: a task call is then a function call. Whoever runs user code (a worker, a replica,
local mode) binds these variables; user code reads them through :func:`ctx`.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from concurrent.futures import Future

    from flyteray._declare.task import Task

RAW_DATA_PATH = "_FLYTE_APP_RAW_DATA_PATH"  # where an app's files go: an environment variable, as in Flyte


class TaskRuntime(Protocol):
    """Carries out the task calls that user code makes."""

    def call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and block for its output."""

    async def acall(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child action and await its output."""

    async def acall_deployed(self, plan: Any, inputs: dict[str, Any]) -> Any:
        """Run a deployed task (``plan``, a TaskPlan) as a child action and await its output."""

    def release(self, ref: Any, until: Future[Any]) -> None:
        """Let others have this task's CPU until ``until`` is done, which ``ref``, an ObjectRef, brings about."""


class Owner(NamedTuple):
    """Whose something is, in Flyte's words; None where nobody has said it. Ray has no such thing: it is only told."""

    project: str | None = None
    domain: str | None = None
    org: str | None = None


@dataclass(frozen=True)
class SerializationContext:
    """What is known of an app when its subdomain is made: ``version`` is empty unless it was named."""

    version: str = ""
    project: str | None = None
    domain: str | None = None
    org: str | None = None


@dataclass(frozen=True)
class ActionID:
    """Which action of which run; the run's root action is ``a0``. ``run_name`` is ``name`` unless it is given.

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
class TaskContext:
    """What a running task may ask about itself.

    ``mode`` is ``"local"`` in the calling process and ``"remote"`` on a cluster; ``attempt_number``
    counts from 0; ``raw_data_path`` is the URL below which the action's files are kept; ``version`` is the one that
    the task was deployed as, or that the run was given; None where it has none.
    """

    action: ActionID
    mode: Literal["local", "remote"] = "remote"
    attempt_number: int = 0
    raw_data_path: RawDataPath = _NOWHERE
    version: str | None = None

    def is_in_cluster(self) -> bool:
        """Whether the task runs on a cluster rather than in the calling process."""
        return self.mode == "remote"


class NoTaskContext:
    """The answer outside tasks: false, and every attribute reads as None."""

    action: None = None
    mode: None = None
    attempt_number: None = None
    raw_data_path: None = None
    version: None = None

    def is_in_cluster(self) -> bool:
        """Not in a task, so not in a task on a cluster."""
        return False

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "<outside any task>"


runtime: ContextVar[TaskRuntime | None] = ContextVar("flyteray_runtime", default=None)
task_context: ContextVar[TaskContext | None] = ContextVar("flyteray_task_context", default=None)


def ctx() -> TaskContext | NoTaskContext:
    """The current task's context, or outside tasks a false object whose attributes are None."""
    return task_context.get() or NoTaskContext()
