"""The interface of the controller, by noun: the questions of clients, workers and replicas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol, cast

from flyteray._actors.questions import Stub
from flyteray._plan.info import (
    ActionInfo,
    ActionPhase,
    AppInfo,
    ClusterInfo,
    ErrorInfo,
    ReplicaInfo,
    RunEnd,
    RunInfo,
    SecretInfo,
    TaskInfo,
)
from flyteray._plan.spec import (
    AppSpec,
    EnvironmentSpec,
    ImageSpec,
    KeyInfo,
    OutputRef,
    RunSpec,
    Start,
    TaskPlan,
)
from flyteray._plan.values.pickling import Payload

CONTROLLER = "controller-v1"  # a newer flyteray takes over from an older one by another name


class Code(Protocol):
    """The bundles of code that the cluster has."""

    def has(self, digest: str) -> Awaitable[bool]:
        """Whether a bundle is there, before it is sent; errors as of :meth:`SharedStorage.prove`."""

    def put(self, digest: str, data: bytes) -> Awaitable[None]:
        """Keep a bundle; equal code is kept once."""

    def get(self, digest: str) -> Awaitable[bytes]:
        """A bundle."""


class SharedStorage(Protocol):
    """The storage that all nodes of the cluster have."""

    def prove(self, node: str | None = None, place: str | None = None) -> Awaitable[None]:
        """Make sure that a node (its id), or each that lives, has the cluster's storage and may write it.

        Each is asked once; one that had not is asked again. ``place`` is a folder of the user's where files go as well.

        Raises:
            ClusterError: a node has another flyteray than the head.
            StorageNotSharedError: a node has another one there, none, or may not write it.
            StorageTakenError: it is another cluster's.
            StorageError: the controller itself can't write it.
        """


class Images(Protocol):
    """The images on the cluster's nodes."""

    def prepare(self, image: ImageSpec | None, force: bool = False) -> Awaitable[Start]:
        """Make an image ready on every node, ``force`` builds it anew; what a worker needs to be started with it.

        Raises:
            ImageBuildError: it can't be built on a node.
            SecretNotFoundError: its build asks for a secret that does not exist.
        """

    def start(self, image: ImageSpec, force: bool) -> Awaitable[None]:
        """Have an image built; returns before it is."""


class Tasks(Protocol):
    """The deployed tasks."""

    def deploy(self, plans: list[TaskPlan]) -> Awaitable[None]:
        """Record versions of tasks, whose code is here; ValueError where a version of that name is something else."""

    def get(self, name: str, version: str | None) -> Awaitable[TaskInfo]:
        """A version of a deployed task, or its newest."""

    def listall(self, name: str | None, environment: str | None, limit: int) -> Awaitable[list[TaskInfo]]:
        """The versions of a task, or the newest of every task."""


class Runs(Protocol):
    """The runs and their actions."""

    def start(self, spec: RunSpec, inputs: Payload) -> Awaitable[RunInfo]:
        """Start a run, which outlives the caller.

        Raises:
            SecretNotFoundError: a secret of its task does not exist.
            ClusterError, StorageNotSharedError: as of :meth:`SharedStorage.prove`.
        """

    def get(self, name: str) -> Awaitable[RunInfo]:
        """A run as it is now."""

    def wait(self, name: str, timeout_s: float) -> Awaitable[RunInfo]:
        """A run when it has ended, or as it is after ``timeout_s`` seconds."""

    def listall(self, task: str | None, phase: ActionPhase | None, limit: int) -> Awaitable[list[RunInfo]]:
        """Runs, newest first; those in phase ``queued`` are all that have not begun."""

    def actions(self, run: str) -> Awaitable[list[ActionInfo]]:
        """The actions of a run."""

    def abort(self, name: str, reason: str) -> Awaitable[None]:
        """End a run and all of its actions."""

    def record(self, events: bytes) -> Awaitable[None]:
        """Take in a batch of what a worker saw: a pickled list of :class:`ActionEvent`."""

    def finished(self, ended: RunEnd) -> Awaitable[None]:
        """Take in how a run ended."""


class Outputs(Protocol):
    """The outputs of runs as apps refer to them."""

    def locate(self, ref: OutputRef) -> Awaitable[str]:
        """The run that has the output: the one that is named, or the newest of the task.

        Raises:
            ParameterMaterializationError: there is none.
            RunNotFoundError: there is no run of that name.
        """

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> Awaitable[list[str]]:
        """The newest run for each as soon as one differs from that ``seen``, or after ``timeout_s`` seconds."""


class Apps(Protocol):
    """The apps and their replicas."""

    def serve(self, spec: AppSpec, declared: Sequence[str] = ()) -> Awaitable[AppInfo]:
        """Make a version the wanted one; its outputs of tasks are pinned to runs first.

        An unchanged version that serves is left alone. ``declared`` are the tasks that the caller knows: one of them
        may be meant by a name that is none.

        Raises:
            ParameterMaterializationError: an output that a parameter names does not exist.
            SecretNotFoundError: it asks for a secret that does not exist.
            ValueError: more replicas than the ingress has room for, a host name that another app has, or a version's
                name that stands for something else already.
            PlacementError: the cluster's nodes can't take its replicas, busy or not.
        """

    def wait(self, name: str, timeout_s: float) -> Awaitable[AppInfo]:
        """An app when its newest version serves or has failed, or as it is after ``timeout_s`` seconds."""

    def get(self, name: str) -> Awaitable[AppInfo]:
        """An app as it is now; AppNotFoundError with the names there are where there is none."""

    def listall(self) -> Awaitable[list[AppInfo]]:
        """All apps, by name."""

    def replicas(self, name: str) -> Awaitable[list[ReplicaInfo]]:
        """The replicas of an app that are ready, of all of its versions; errors as in :meth:`get`."""

    def set_desired(self, name: str, desired: Literal["active", "stopped"]) -> Awaitable[AppInfo]:
        """Start or stop an app."""

    def wait_stopped(self, name: str, asked: bool = False) -> Awaitable[AppInfo]:
        """An app when nothing of it runs any more, its replicas' ``on_shutdown`` included.

        ``asked`` says that the caller has stopped it: somebody may have started it again since.

        Raises:
            RuntimeUserError: it was to stop, and somebody has started it again.
            AppNotFoundError: somebody has deleted it.
        """

    def delete(self, name: str) -> Awaitable[None]:
        """Stop an app, end its replicas, forget it; errors as in :meth:`wait_stopped`."""

    def replica_ready(self, info: ReplicaInfo) -> Awaitable[None]:
        """A replica listens. Reports may repeat."""

    def replica_failed(self, version: str, error: ErrorInfo) -> Awaitable[None]:
        """A replica could not start."""

    def replica_stopping(self, replica_id: str, version: str) -> Awaitable[float]:
        """A replica takes no more requests; for how many seconds it may go on at most."""


class Secrets(Protocol):
    """The secrets that are kept."""

    def create(self, name: str, value: bytes) -> Awaitable[SecretInfo]:
        """Keep a secret, or give it a new value."""

    def uncreated(self, names: list[str]) -> Awaitable[list[str]]:
        """The names of which nobody has created a secret."""

    def take(self, values: dict[str, bytes]) -> Awaitable[list[str]]:
        """Keep values of the caller's environment; tells those that are new or others than before."""

    def get(self, name: str) -> Awaitable[SecretInfo]:
        """A secret without its value."""

    def listall(self, limit: int | None) -> Awaitable[list[SecretInfo]]:
        """Secrets by name, without their values; all of them for None."""

    def delete(self, name: str) -> Awaitable[None]:
        """Forget a secret; processes that were given it keep it. SecretNotFoundError where there is none."""

    def values(self, names: Sequence[str]) -> Awaitable[dict[str, bytes]]:
        """The values that a process of an environment that asks for them is given."""


class Keys(Protocol):
    """The keys of those who may use apps."""

    def create(self, name: str, digest: str) -> Awaitable[KeyInfo]:
        """Let in the owner of that key from the moment that this returns; ValueError for a bad or taken name."""

    def listall(self, limit: int | None) -> Awaitable[list[KeyInfo]]:
        """Keys by name; all of them for None."""

    def delete(self, name: str) -> Awaitable[None]:
        """Answer no more requests with that key from the moment that this returns; KeyNotFoundError where none is."""


class Controller(Protocol):
    """The controller: the one actor that everybody talks to. It is on no request's path."""

    code: Code
    storage: SharedStorage
    images: Images
    tasks: Tasks
    runs: Runs
    outputs: Outputs
    apps: Apps
    secrets: Secrets
    keys: Keys

    def info(self, address: str | None) -> Awaitable[ClusterInfo]:
        """The cluster's addresses and places, for code on the machine of that address of the cluster."""

    def gets_less(self, environment: EnvironmentSpec, replicas: int) -> Awaitable[str | None]:
        """The resources that an environment asks for and does not get in full here, in words."""


def controller(before: Callable[[], object] | None = None) -> Controller:
    """The controller of the connected cluster; ``before`` is called before each question, and may block to connect."""
    return cast(Controller, Stub(CONTROLLER, before=before))
