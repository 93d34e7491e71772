"""Errors that flyteray raises of its own accord, and those of Flyte that programs name.

RuntimeError
└── BaseRuntimeError                code, kind, message
    ├── InitializationError         no cluster, no controller, or nothing was initialised yet
    │   └── ClusterError            a cluster could not be started or reached
    ├── RuntimeUserError            the user's code or input is at fault
    │   ├── ActionAbortedError      somebody aborted it
    │   ├── AppNotFoundError        no app of that name
    │   ├── ArtifactNotFoundError   no artifact, or no version of it, of that name
    │   ├── CodeBundleError         user code could not be bundled or unpacked
    │   ├── ConditionAlreadyExistsError    a task waits for another condition of that name
    │   ├── ConditionFailedError    a condition is waited for no more, or nobody can answer it
    │   ├── ConditionNotFoundError  no condition of that name
    │   ├── ConditionTimedoutError  nobody has answered a condition in time
    │   ├── CustomError             raised by users, with a code of their own
    │   ├── DeploymentError         an app version did not come up
    │   │   └── ActivationTimeoutError     not in time; a TimeoutError as well
    │   ├── ImageBuildError         an image could not be built, or can't be on Ray
    │   ├── InlineIOMaxBytesBreached       of Flyte: inputs or outputs are too large; nothing raises it here
    │   ├── InvalidImageNameError   no image is configured under that name
    │   ├── KeyNotFoundError        no key of that name
    │   ├── ModuleLoadError         user code could not be imported, or a name in it is missing
    │   ├── NonRecoverableError     raised by users: no retry
    │   ├── NotInTaskContextError   of Flyte: what only tasks can do; for users to raise and catch
    │   ├── OOMError                killed for memory
    │   ├── OutputNotFoundError     an output is neither in the object store nor in storage
    │   ├── ParameterMaterializationError  a parameter of an app has no value
    │   ├── PlacementError          no node of the cluster has what is asked for
    │   ├── RemoteTaskNotFoundError no deployed task, or no version of it, of that name
    │   ├── RemoteTaskUsageError    a deployed task was called in a way that it can't be
    │   ├── RetriesExhaustedError   of Flyte: no attempt is left; here the last attempt's own error is raised
    │   ├── ReportNotFoundError     an action has no report
    │   ├── RestrictedTypeError     a type that somebody has restricted is an input or output
    │   ├── ResultSerializationError       a task returned something that can't be pickled
    │   ├── RunAlreadyExistsError   the name is taken
    │   ├── RunNotFoundError        no run of that name
    │   ├── RuntimeDataValidationError     a task returned another type than it declares
    │   ├── SecretNotFoundError     a secret that is asked for does not exist
    │   ├── SyncTaskCallInAsyncContextError  use ``.aio``
    │   ├── TaskInterruptedError    the worker or node that ran it died
    │   ├── TaskTimeoutError        it took longer than it may
    │   │   ├── DeadlineExceededError      all attempts together
    │   │   ├── MaxQueuedTimeExceededError it waited too long for its start
    │   │   └── MaxRuntimeExceededError    one attempt
    │   ├── TraceDoesNotAllowNestedTasksError  a traced function calls a task
    │   └── TriggerNotFoundError    a task has no trigger of that name
    ├── RuntimeSystemError          flyteray or Ray is at fault
    │   ├── RegistryTakenError      another controller has taken the registry over
    │   ├── RegistryUnavailableError       the registry's database is away, or does not answer in time
    │   └── StorageError            storage can't be reached, refuses, or is full
    │       ├── StorageNotSharedError      nodes of the cluster have another one at the same place, or none
    │       └── StorageTakenError          another cluster keeps its things there, and records them elsewhere
    └── RuntimeUnknownError         nobody knows who is

Of Flyte, for programs that catch them by name; nothing raises them here:

RuntimeError
├── ActionNotFoundError
└── BaseRuntimeError
    ├── GPUFaultError
    │   ├── GPUFaultSystemError     a RuntimeSystemError as well
    │   └── GPUFaultUserError       a RuntimeUserError as well
    ├── LogsNotYetAvailableError
    ├── RuntimeSystemError
    │   └── UnionRpcError
    └── RuntimeUserError
        ├── AppleSiliconError
        ├── ImagePullBackOffError
        ├── InvalidPackageError
        ├── OnlyAsyncIOSupportedError
        ├── PrimaryContainerNotFoundError
        └── SlowDownError
            └── ResourceExhaustedError

Wrong arguments are plain ``TypeError`` and ``ValueError``, as in Flyte.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ActionAbortedError",
    "ActionNotFoundError",
    "ActivationTimeoutError",
    "AppNotFoundError",
    "AppleSiliconError",
    "ArtifactNotFoundError",
    "BaseRuntimeError",
    "ClusterError",
    "CodeBundleError",
    "ConditionAlreadyExistsError",
    "ConditionFailedError",
    "ConditionNotFoundError",
    "ConditionTimedoutError",
    "CustomError",
    "DeadlineExceededError",
    "DeploymentError",
    "GPUFaultError",
    "GPUFaultSystemError",
    "GPUFaultUserError",
    "ImageBuildError",
    "ImagePullBackOffError",
    "InitializationError",
    "InlineIOMaxBytesBreached",
    "InvalidImageNameError",
    "InvalidPackageError",
    "KeyNotFoundError",
    "LogsNotYetAvailableError",
    "MaxQueuedTimeExceededError",
    "MaxRuntimeExceededError",
    "ModuleLoadError",
    "NonRecoverableError",
    "NotInTaskContextError",
    "OOMError",
    "OnlyAsyncIOSupportedError",
    "OutputNotFoundError",
    "ParameterMaterializationError",
    "PlacementError",
    "PrimaryContainerNotFoundError",
    "RegistryTakenError",
    "RegistryUnavailableError",
    "RemoteTaskNotFoundError",
    "RemoteTaskUsageError",
    "ReportNotFoundError",
    "ResourceExhaustedError",
    "RestrictedTypeError",
    "ResultSerializationError",
    "RetriesExhaustedError",
    "RunAlreadyExistsError",
    "RunNotFoundError",
    "RuntimeDataValidationError",
    "RuntimeSystemError",
    "RuntimeUnknownError",
    "RuntimeUserError",
    "SecretNotFoundError",
    "SlowDownError",
    "StorageError",
    "StorageNotSharedError",
    "StorageTakenError",
    "SyncTaskCallInAsyncContextError",
    "TaskInterruptedError",
    "TaskTimeoutError",
    "TraceDoesNotAllowNestedTasksError",
    "TriggerNotFoundError",
    "UnionRpcError",
]

Kind = Literal["user", "system", "unknown"]


class BaseRuntimeError(RuntimeError):
    """The root of the tree.

    Args:
        code: A short stable word for programs; the class name unless given.
        kind: Who has to act: ``"user"``, ``"system"`` or ``"unknown"``.
        root_cause_message: What was wrong, with which value, and what to do.
        worker: Where it happened, when that is known.

    An error that :func:`flyteray.map` yields as a value raises itself in arithmetic, so that summing results
    blindly shows the failure instead of a ``TypeError``.
    """

    def __init__(self, code: str, kind: Kind, root_cause_message: str, worker: str | None = None) -> None:
        super().__init__(root_cause_message)
        self.code = code
        self.kind: Kind = kind
        self.worker = worker

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ would call __init__ with the message alone.
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))

    def _raise(self, _other: object) -> NoReturn:
        raise self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _raise
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _raise


def _rebuild(cls: type[BaseRuntimeError], args: tuple[Any, ...], state: dict[str, Any]) -> BaseRuntimeError:
    error = cls.__new__(cls)
    RuntimeError.__init__(error, *args)
    error.__dict__.update(state)
    return error


class InitializationError(BaseRuntimeError):
    """Nothing to talk to: no cluster, no controller, or ``flyteray.init()`` is still to be called."""


class ClusterError(InitializationError):
    """A cluster could not be started, reached or stopped."""

    def __init__(self, message: str) -> None:
        super().__init__("ClusterError", "system", message)


class RuntimeUserError(BaseRuntimeError):
    """The user's code or input is at fault; ``code`` is the class name of the original exception."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "user", message, worker)


class RuntimeSystemError(BaseRuntimeError):
    """flyteray, Ray or the machine is at fault."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "system", message, worker)


class StorageError(RuntimeSystemError):
    """Storage can't be reached, refuses to be read or written, or is full; the message names it and what to do."""

    def __init__(self, message: str, worker: str | None = None) -> None:
        super().__init__(type(self).__name__, message, worker)


class StorageNotSharedError(StorageError):
    """Nodes of the cluster find another storage at its path or URL, or can't use it; the message names them."""


class StorageTakenError(StorageError):
    """Another cluster, with another registry, keeps its things in the storage."""


class RuntimeUnknownError(BaseRuntimeError):
    """Something failed, and nobody knows whose fault it is."""

    def __init__(self, code: str, message: str, worker: str | None = None) -> None:
        super().__init__(code, "unknown", message, worker)


class _NamedUserError(RuntimeUserError):
    """A user error whose code is its class name."""

    def __init__(self, message: str, worker: str | None = None) -> None:
        super().__init__(type(self).__name__, message, worker)


class ActionAbortedError(_NamedUserError):
    """A run or action was aborted; the message gives the reason."""


class AppNotFoundError(_NamedUserError):
    """There is no app of that name."""


class CodeBundleError(_NamedUserError):
    """User code could not be collected, shipped or unpacked."""


class CustomError(RuntimeUserError):
    """Raised by users, with a ``code`` of their own that callers can tell it by."""

    @classmethod
    def from_exception(cls, error: BaseException) -> CustomError:
        """An exception as such an error: its class is the code, and it is the cause."""
        made = cls(type(error).__name__, str(error))
        made.__cause__ = error
        return made


class DeploymentError(_NamedUserError):
    """An app version did not come up; the version that served before goes on serving."""


class ActivationTimeoutError(DeploymentError, TimeoutError):
    """An app was not active, or not stopped, within the time that was given for it."""

    def __new__(cls, *_: object) -> Self:
        """Made as an OSError is: RuntimeError's own ``__new__`` refuses what is both."""
        return TimeoutError.__new__(cls)


class ImageBuildError(_NamedUserError):
    """An image could not be built, or asks for what Ray's nodes can't be given; pip's own message where it has one."""


class InlineIOMaxBytesBreached(_NamedUserError):
    """Flyte's word for inputs or outputs that are too large. Ray knows no such limit, so nothing raises it."""


class InvalidImageNameError(_NamedUserError):
    """``Image.from_ref_name`` names an image that ``flyteray.init(images=...)`` does not."""


class KeyNotFoundError(_NamedUserError):
    """There is no key of that name."""


class ModuleLoadError(_NamedUserError):
    """A file or module of the user could not be imported, or lacks the name asked for."""


class NonRecoverableError(RuntimeUserError):
    """Raised by a task to say that trying again is pointless: no retry follows."""

    def __init__(self, message: str, code: str = "NonRecoverableError") -> None:
        super().__init__(code, message)


class NotInTaskContextError(RuntimeUserError):
    """Something that only tasks can do was asked for outside of one."""


class OOMError(RuntimeUserError):
    """Killed for memory. Give the environment ``Resources(memory=...)`` or use less."""


class OutputNotFoundError(_NamedUserError):
    """An output is neither in the object store nor in storage."""


class ParameterMaterializationError(_NamedUserError):
    """A parameter of an app has no value: no successful run, no such output, or no such file."""


class PlacementError(_NamedUserError):
    """No node of the cluster has what is asked for, and none will be added."""


class RegistryTakenError(RuntimeSystemError):
    """The controller that was asked may write no more: a newer one, or another cluster's, has the registry."""

    def __init__(self, message: str) -> None:
        super().__init__("RegistryTakenError", message)


class RegistryUnavailableError(RuntimeSystemError):
    """The registry's database is away or does not answer in time. The message says why; asking again later may help."""

    def __init__(self, message: str) -> None:
        super().__init__("RegistryUnavailableError", message)


class RemoteTaskNotFoundError(_NamedUserError):
    """There is no deployed task, or no version of it, of that name."""


class RemoteTaskUsageError(_NamedUserError):
    """A deployed task was called by position, outside a task, or in local mode."""


class ReportNotFoundError(_NamedUserError):
    """An action, or an attempt of it, has no report."""


class RetriesExhaustedError(RuntimeUserError):
    """Flyte's word for a task without an attempt left. Here the error of the last attempt is raised itself."""


class ResultSerializationError(_NamedUserError):
    """A task returned something that can't be pickled."""


class RunAlreadyExistsError(RuntimeUserError):
    """A run of that name exists already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "RunAlreadyExistsError", f"A run named {name!r} exists already: choose another name."
        )


class RunNotFoundError(_NamedUserError):
    """There is no run of that name."""


class RuntimeDataValidationError(RuntimeUserError):
    """A task returned something else than its annotation says."""

    def __init__(self, var: str, e: Exception | str, task_name: str = "") -> None:
        where = f" of task {task_name!r}" if task_name else ""
        super().__init__("RuntimeDataValidationError", f"Output {var}{where}: {e}")


class SecretNotFoundError(_NamedUserError):
    """A secret that is asked for does not exist."""


class SyncTaskCallInAsyncContextError(_NamedUserError):
    """A sync task was called without ``.aio`` from a running event loop, which it would block."""


class TaskInterruptedError(RuntimeSystemError):
    """The worker process or node that ran the task died."""


class TaskTimeoutError(RuntimeUserError):
    """A task took longer than it may."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(code or type(self).__name__, message)


class DeadlineExceededError(TaskTimeoutError):
    """All attempts of a task together took longer than they may."""


class MaxQueuedTimeExceededError(TaskTimeoutError):
    """A task waited longer for its start than it may."""


class MaxRuntimeExceededError(TaskTimeoutError):
    """An attempt of a task took longer than it may."""


class ArtifactNotFoundError(_NamedUserError):
    """There is no artifact of that name, or no such version of it."""


class TriggerNotFoundError(_NamedUserError):
    """A task has no trigger of that name."""


# Flyte's words for what does not happen on Ray, or not yet: nothing here raises them, programs name and catch them.


class ActionNotFoundError(RuntimeError):
    """There is no such action; outside the tree, as in Flyte."""


class AppleSiliconError(RuntimeUserError):
    """A Mac's own accelerator is not there, or failed."""

    def __init__(self, message: str, worker: str | None = None) -> None:
        super().__init__("APPLE_SILICON_ERROR", message, worker)


class ConditionAlreadyExistsError(_NamedUserError):
    """A condition of that name exists already."""


class ConditionFailedError(_NamedUserError):
    """A condition that was waited for failed."""


class ConditionNotFoundError(_NamedUserError):
    """There is no such condition."""


class ConditionTimedoutError(_NamedUserError):
    """A condition was not signalled in time."""


class GPUFaultError(BaseRuntimeError):
    """The GPU of a task failed.

    Args:
        code: As of any error.
        kind: ``"user"`` where the program did it, ``"system"`` where the device is broken.
        message: What is known.
        worker: Where.
        fault: What the driver told, each an attribute: ``fault_kind`` (``"xid"`` or ``"sxid"``), ``fault_code``,
            ``fault_name``, ``severity``, ``gpu_uuid``, ``gpu_index``, ``node``, ``pci_bus_id``, ``process``.
    """

    fault_kind: str | None = None
    fault_code: int | None = None
    fault_name: str | None = None
    severity: str | None = None
    gpu_uuid: str | None = None
    gpu_index: int | None = None
    node: str | None = None
    pci_bus_id: str | None = None
    process: str | None = None

    def __init__(self, code: str, kind: Kind, message: str, worker: str | None = None, **fault: Any) -> None:
        BaseRuntimeError.__init__(self, code, kind, message, worker)  # those below have two bases
        if unknown := [name for name in fault if name not in GPUFaultError.__annotations__]:
            raise TypeError(f"{type(self).__name__} knows no {unknown[0]!r} of a fault.")
        self.__dict__.update(fault)

    @property
    def xid(self) -> int | None:
        """The number of a fault of a GPU."""
        return self.fault_code if self.fault_kind == "xid" else None

    @property
    def sxid(self) -> int | None:
        """The number of a fault of a switch between GPUs."""
        return self.fault_code if self.fault_kind == "sxid" else None


class GPUFaultUserError(GPUFaultError, RuntimeUserError):
    """The program made the GPU fail."""

    def __init__(self, code: str, message: str, worker: str | None = None, **fault: Any) -> None:
        GPUFaultError.__init__(self, code, "user", message, worker, **fault)


class GPUFaultSystemError(GPUFaultError, RuntimeSystemError):
    """The GPU or its node is broken."""

    def __init__(self, code: str, message: str, worker: str | None = None, **fault: Any) -> None:
        GPUFaultError.__init__(self, code, "system", message, worker, **fault)


class ImagePullBackOffError(RuntimeUserError):
    """A container image can't be had."""


class InvalidPackageError(RuntimeUserError):
    """An image asks for a system package that there is not."""

    def __init__(self, package_name: str, original_error: str) -> None:
        super().__init__(
            "InvalidPackageError", f"There is no system package {package_name!r}: {original_error}"
        )
        self.package_name = package_name
        self.original_error = original_error


class LogsNotYetAvailableError(BaseRuntimeError):
    """A task has written no logs yet."""

    def __init__(self, message: str) -> None:
        super().__init__("LogsNotYetAvailable", "system", message)


class OnlyAsyncIOSupportedError(_NamedUserError):
    """Something has no sync form."""


class PrimaryContainerNotFoundError(RuntimeUserError):
    """A pod has no container of the name that its template gives."""


class RestrictedTypeError(_NamedUserError):
    """A type can't be an input or output."""


class SlowDownError(_NamedUserError):
    """The server asks for fewer requests."""


class ResourceExhaustedError(SlowDownError):
    """The server has nothing left to give."""


class TraceDoesNotAllowNestedTasksError(_NamedUserError):
    """A traced function called a task."""


class UnionRpcError(RuntimeSystemError):
    """The server can't be reached."""
