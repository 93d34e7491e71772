"""A submitter gives actions to Ray, placed where they fit; Ray's errors are translated to flyteray's."""

from __future__ import annotations

import functools
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import ray
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    OwnerDiedError,
    RayActorError,
    RayTaskError,
    TaskCancelledError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

from flyteray._cluster import nodes
from flyteray._cluster.workers import launch, variables
from flyteray._plan import failure
from flyteray._plan.info import ErrorInfo
from flyteray._plan.placement import fitted, impossible, less
from flyteray._plan.resources import ray_options
from flyteray._plan.spec import NO_IMAGE, EnvironmentSpec, Start
from flyteray._plan.values.pickling import Payload
from flyteray._tasks.call import ActionFailed, Call
from flyteray._tasks.worker import BUNDLE, host_command
from flyteray.errors import (
    ActionAbortedError,
    BaseRuntimeError,
    OOMError,
    PlacementError,
    ResultSerializationError,
    RuntimeSystemError,
    StorageError,
    TaskInterruptedError,
)

logger = logging.getLogger(__name__)

_PLACEABLE_S = 30.0  # for so long a cluster is taken to be able to place what it could


def task_options(environment: EnvironmentSpec, bundle: str, start: Start = NO_IMAGE) -> dict[str, Any]:
    """Ray's options for the actions of one environment and one bundle; ``start`` is what its image needs.

    The runtime_env names the pair by hash alone. It makes Ray keep separate worker processes per pair without
    showing the variables in its state API, and a child can't inherit its parent's variables through it. Processes
    with secrets run nothing else, and those of one number of threads no others.
    """
    threads = launch.threads_of(environment)
    inside = (bundle, sorted(environment.env_vars.items()), environment.secrets, threads)
    identity = hashlib.sha256(repr(inside).encode()).hexdigest()[:16]
    kept = variables.keep(environment.env_vars) if environment.env_vars else None
    process = launch.runtime_env(identity, start, kept, threads)
    process["env_vars"][BUNDLE] = bundle
    if not start.container:  # where Ray starts a worker of its own
        process["py_executable"] = host_command(process.get("py_executable") or launch.command())
    return {
        **ray_options(environment),
        "max_retries": 0,  # ours, because Ray's re-run silently
        "runtime_env": process,
    }


class NamedEnvironment(NamedTuple):
    """An environment and its JSON, which names it: worked out once, not once per call."""

    spec: EnvironmentSpec
    name: str

    @classmethod
    def of(cls, spec: EnvironmentSpec) -> NamedEnvironment:
        """An environment with its name."""
        return cls(spec, spec.model_dump_json())


class Submitter:
    """Submits one function, which takes packed calls, to Ray; the options of an environment are worked out once."""

    def __init__(self, function: Callable[..., object], num_returns: int | Literal["streaming"] = 1) -> None:
        self._function = ray.remote(function)
        self._num_returns = num_returns
        self._prepared = functools.cache(self._prepare)
        # By environment: until when nobody asks again, and what it gets.
        self._placed: dict[str, tuple[float, str]] = {}

    def submit(
        self, environment: NamedEnvironment, call: Call, arguments: Payload, start: Start = NO_IMAGE
    ) -> Any:
        """Submit one call in an environment; ``start`` is what its image needs.

        Returns its ObjectRef (or a list of them); raises PlacementError where no node of the cluster can take it.
        """
        return self.prepared(environment, call, start).remote(*call.pack(arguments))

    def prepared(self, environment: NamedEnvironment, call: Call, start: Start = NO_IMAGE) -> Any:
        """Ray's function for calls like this one in an environment; raises as :meth:`submit`."""
        return self._prepared(self.placed(environment, call.task), call.bundle or call.version or "", start)

    def placed(self, environment: NamedEnvironment, task: str) -> str:
        """An environment as it fits this cluster, as JSON; raises PlacementError where no node can take it."""
        until, gets = self._placed.get(environment.name, (0.0, ""))
        if until < time.monotonic():
            gets = _place(environment, task)
            self._placed[environment.name] = time.monotonic() + _PLACEABLE_S, gets
        return gets

    def _prepare(self, environment: str, bundle: str, start: Start) -> Any:
        options = task_options(EnvironmentSpec.model_validate_json(environment), bundle, start)
        return self._function.options(**options, num_returns=self._num_returns)


def _place(environment: NamedEnvironment, task: str) -> str:
    """The environment as it fits this cluster, as JSON; raises PlacementError where there is no node for it."""
    cluster = nodes.look()
    spec = fitted(environment.spec, cluster)
    problem = impossible(spec, cluster)
    if problem is not None:
        raise PlacementError(
            f"Task {task!r} can't run here: {problem}. Ask for less, or connect to a cluster that has it."
        )
    if spec is environment.spec:
        return environment.name
    logger.warning("Task %r %s.", task, less(environment.spec, cluster))
    return spec.model_dump_json()


_HINT = "Check python-core-worker-*.log files for more information."  # files that few can read


def translate_error(error: BaseException, task: str, unpickle: bool = True) -> BaseRuntimeError:
    """The flyteray error for whatever Ray raised for an action of ``task``; ``unpickle`` as in ``failure.restore``."""
    if (failed := told_by_worker(error)) is not None:
        return failure.restore(failed.info, unpickle)
    cause = getattr(error, "cause", None)
    if isinstance(error, RayTaskError) and isinstance(cause, BaseRuntimeError):
        return cause  # the worker itself could not begin
    if isinstance(error, BaseRuntimeError):
        return error
    if isinstance(error, TaskCancelledError) or isinstance(cause, (TaskCancelledError, KeyboardInterrupt)):
        return ActionAbortedError(f"Task {task!r} was cancelled.")
    if isinstance(error, OutOfMemoryError):
        return OOMError(
            "OOMError",
            f"Task {task!r} was killed for memory: {_first_line(error)} Have it use less, or give its environment "
            "Resources(memory=...), so that it has a place to itself.",
        )
    if isinstance(error, (ObjectStoreFullError, OutOfDiskError)):
        return StorageError(
            f"What task {task!r} is given or returns fits neither in the object store of its node nor on the disk that "
            f"Ray spills to: {_first_line(cause or error)}. Free some space there, give Ray a larger object store, or "
            "pass flyteray.io.File in place of large values."
        )
    if isinstance(error, (WorkerCrashedError, RayActorError)):
        return TaskInterruptedError(
            "TaskInterruptedError",
            f"The worker of task {task!r} died, as by a crash in C code, os._exit() or a kill; its logs may tell more. "
            f"Ray says: {_first_line(error).removesuffix(_HINT).strip()}",
        )
    if isinstance(error, (NodeDiedError, OwnerDiedError, ObjectLostError)):
        return TaskInterruptedError(
            "TaskInterruptedError", f"The worker of task {task!r} died: {_first_line(error)}"
        )
    if isinstance(error, TaskUnschedulableError):
        return RuntimeSystemError("TaskUnschedulable", f"Task {task!r} can't be placed: {_first_line(error)}")
    if isinstance(error, RayTaskError) and "serialize" in str(error):
        return ResultSerializationError(
            f"Task {task!r} returned something that can't be pickled: {_last_line(error)} Return plain data, or "
            "what the object is made from."
        )
    return RuntimeSystemError(type(error).__name__, f"Task {task!r} failed in Ray: {failure.message(error)}")


def was_lost(told: BaseRuntimeError) -> bool:
    """Whether an attempt has ended with its worker or node, maybe behind its outputs: by :func:`translate_error`."""
    return isinstance(told, (TaskInterruptedError, OOMError))


def describe_error(error: BaseException, task: str) -> ErrorInfo:
    """An error of Ray's as a value: as the worker described it, where it could."""
    failed = told_by_worker(error)
    return failure.describe(translate_error(error, task)) if failed is None else failed.info


def told_by_worker(error: BaseException) -> ActionFailed | None:
    """The failure behind an error, as the worker told it; None where that could not."""
    failed = getattr(error, "cause", error)  # or itself, where another process's batch has carried it
    return failed if isinstance(failed, ActionFailed) else None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]


def _last_line(error: BaseException) -> str:
    return str(error).strip().rpartition("\n")[2]
