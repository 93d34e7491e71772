"""The interface of the controller, by noun: the questions of clients, workers and replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, cast

from flyteray._actors.questions import Stub

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from flyteray._plan.actions.conditions import ConditionInfo
    from flyteray._plan.actions.tree import Census
    from flyteray._plan.cache.entry import Entry
    from flyteray._plan.info import (
        ActionInfo,
        AppInfo,
        AppVersion,
        AskedVersion,
        AttemptInfo,
        ClusterInfo,
        ErrorInfo,
        NoticeInfo,
        ReplicaInfo,
        RunEnd,
        RunInfo,
        SecretInfo,
        TaskInfo,
    )
    from flyteray._plan.runs import RunFilter
    from flyteray._plan.spec import (
        AppSpec,
        EnvironmentSpec,
        ImageSpec,
        KeyChange,
        KeyInfo,
        KeySpec,
        OutputRef,
        RunSpec,
        Start,
        TaskPlan,
    )
    from flyteray._plan.traffic.access import Page, Place
    from flyteray._plan.traffic.advice import Advice
    from flyteray._plan.traffic.canary import CanarySpec
    from flyteray._plan.traffic.load import VersionLoad
    from flyteray._plan.traffic.shadow import ShadowSpec
    from flyteray._plan.triggers.artifacts import ArtifactInfo, Publication
    from flyteray._plan.triggers.partitions import PartitionSchema
    from flyteray._plan.triggers.trigger import TriggerInfo, TriggerSpec
    from flyteray._plan.values.pickling import Payload
    from flyteray.app.scaling import Signals

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


class Artifacts(Protocol):
    """The artifacts, by name and version."""

    def publish(self, published: Sequence[Publication]) -> Awaitable[list[ArtifactInfo]]:
        """Keep versions, all or none; one that is there already stays, ValueError where that is another one."""

    def get(self, name: str, version: str | None, partitions: dict[str, str]) -> Awaitable[ArtifactInfo]:
        """A version, or the newest, with these partitions; ArtifactNotFoundError where there is none."""

    def value(self, name: str, version: str) -> Awaitable[bytes]:
        """The pickled value of a version; errors as in :meth:`get`."""

    def listall(
        self, name: str | None, partitions: dict[str, str], limit: int | None
    ) -> Awaitable[list[ArtifactInfo]]:
        """Versions, the newest first, of one name or with some partitions if given; all of them for None."""

    def names(self) -> Awaitable[list[str]]:
        """The names of all artifacts."""

    def delete(self, name: str, version: str) -> Awaitable[None]:
        """Forget a version; errors as in :meth:`get`."""

    def declare(self, name: str, schema: PartitionSchema) -> Awaitable[PartitionSchema]:
        """Fix the partitions of an artifact; ValueError where others are fixed, or the first version has others."""

    def schema(self, name: str) -> Awaitable[PartitionSchema]:
        """The partitions that are fixed, else of the first version with some; ArtifactNotFoundError for neither."""


class Triggers(Protocol):
    """The triggers of deployed tasks."""

    def deploy(
        self, tasks: Collection[str], declared: Sequence[tuple[TriggerSpec, bytes, bool]]
    ) -> Awaitable[None]:
        """Keep the triggers that tasks are deployed with, in place of those of their deployment before.

        With each come its pickled inputs, and whether it is active.
        """

    def create(self, spec: TriggerSpec, inputs: bytes, active: bool) -> Awaitable[TriggerInfo]:
        """Keep a trigger, in place of one of its task and name."""

    def get(self, task: str, name: str) -> Awaitable[TriggerInfo]:
        """A trigger as it is now; TriggerNotFoundError with the names there are where there is none."""

    def inputs(self, task: str, name: str) -> Awaitable[bytes]:
        """The pickled inputs of a trigger's runs; errors as in :meth:`get`."""

    def listall(self, task: str | None, limit: int | None) -> Awaitable[list[TriggerInfo]]:
        """Triggers by task and name, of all tasks or of one; all of them for None."""

    def set_active(self, task: str, name: str, active: bool) -> Awaitable[TriggerInfo]:
        """Have a trigger start runs, or no more; errors as in :meth:`get`."""

    def delete(self, task: str, name: str) -> Awaitable[None]:
        """Forget a trigger; its runs stay. Errors as in :meth:`get`."""


class Runs(Protocol):
    """The runs and their actions."""

    def start(self, spec: RunSpec, inputs: Payload) -> Awaitable[RunInfo]:
        """Start a run, which outlives the caller.

        Raises:
            SecretNotFoundError: a secret of its task does not exist.
            ClusterError, StorageNotSharedError: as of :meth:`SharedStorage.prove`.
        """

    def reuse(self, spec: RunSpec, entry: Entry, inputs: Payload | None) -> Awaitable[RunInfo | None]:
        """Record a run that has succeeded by a result that was kept; None where that is gone.

        Its ``inputs`` are recorded where they are given. RunAlreadyExistsError where another one has its name.
        """

    def get(self, name: str) -> Awaitable[RunInfo]:
        """A run as it is now."""

    def wait(self, name: str, timeout_s: float) -> Awaitable[RunInfo]:
        """A run when it has ended, or as it is after ``timeout_s`` seconds."""

    def listall(self, asked: RunFilter) -> Awaitable[list[RunInfo]]:
        """The runs that are asked for; those in phase ``queued`` are all that have not begun."""

    def spec(self, name: str) -> Awaitable[RunSpec]:
        """The run as it was asked for; errors as in :meth:`get`."""

    def inputs(self, run: str, action: str) -> Awaitable[bytes | None]:
        """The pickled inputs of an action other than the root; None where they are large, so that storage has them."""

    def actions(self, run: str) -> Awaitable[list[ActionInfo]]:
        """The actions of a run."""

    def census(self, run: str, most: int) -> Awaitable[Census]:
        """How many actions of each kind a run has; of more than ``most`` actions those are told one by one that run,
        have failed or have called others, and no more than that."""

    def action(self, run: str, action: str) -> Awaitable[ActionInfo | None]:
        """An action of a run as it is now; None where nothing is known of it."""

    def notices(self, name: str) -> Awaitable[list[NoticeInfo]]:
        """The notifications of a run that has ended, those that are still to be sent too."""

    def began(self, run: str, action: str, attempt: int) -> Awaitable[float | None]:
        """When an attempt, counted from 0, began, in seconds since the epoch; None where nobody has told so."""

    def attempts(self, run: str, action: str) -> Awaitable[list[AttemptInfo]]:
        """The attempts of an action, the first one first; none where the run has no such action that has begun."""

    def abort(self, name: str, reason: str) -> Awaitable[None]:
        """End a run and all of its actions."""

    def abort_action(self, run: str, action: str, reason: str) -> Awaitable[None]:
        """Have the process that waits for an action end it, and all below; one that has ended stays as it is.

        Raises:
            RunNotFoundError: there is no such run.
            ValueError: it has no such action that has begun.
        """

    def aborts(self, run: str, seen: list[str], timeout_s: float) -> Awaitable[dict[str, str]]:
        """The actions of a run that are to be aborted but those that were ``seen``, with the reasons, as soon as there
        are some; none after ``timeout_s`` seconds."""

    def record(self, events: bytes) -> Awaitable[None]:
        """Take in a batch of what a worker saw: a pickled list of :class:`ActionEvent`."""

    def confirm(self, done: bytes) -> Awaitable[None]:
        """Record those children that are not recorded as done: a pickled :class:`ChildrenDone`."""

    def finished(self, ended: RunEnd) -> Awaitable[None]:
        """Take in how a run ended."""


class Conditions(Protocol):
    """The conditions that runs wait for."""

    def create(self, info: ConditionInfo) -> Awaitable[ConditionInfo]:
        """Have an action wait; asked again, the condition as it is. ConditionAlreadyExistsError where its parent waits
        for another one of that name."""

    def wait(self, run: str, action: str, timeout_s: float) -> Awaitable[ConditionInfo]:
        """A condition when it is over, or as it is after ``timeout_s`` seconds."""

    def signal(self, run: str, condition: str, value: object) -> Awaitable[ConditionInfo]:
        """Answer a condition, by its action or name.

        Raises:
            ConditionNotFoundError: the run has none of that name.
            ConditionFailedError: it waits no more.
            TypeError: the value is of another kind.
        """

    def listall(
        self, run: str | None, action: str | None, waiting: bool, limit: int
    ) -> Awaitable[list[ConditionInfo]]:
        """Conditions, newest first: of all runs or one, of one action or those that it asked for, only waiting ones."""


CLAIM_S = 20.0  # how long one question for a lease may wait


class Leases(Protocol):
    """The leases of calls of which only one is made at a time."""

    def claim(self, key: str, run: str, action: str, parent: str | None, timeout_s: float) -> Awaitable[bool]:
        """Whether an action has the lease of a call: at once, or when who has it is done or has ended.

        False after ``timeout_s`` seconds. Asked again, the one that has it has it still.
        """

    def release(self, key: str, run: str, action: str) -> Awaitable[None]:
        """Give a lease up; nothing happens where another action has it."""


class Retention(Protocol):
    """How long runs are kept."""

    def delete(self, name: str) -> Awaitable[None]:
        """Delete a run that has ended, with its records, logs, inputs, outputs and files.

        Raises:
            RunNotFoundError: there is no such run.
            RuntimeUserError: it has not ended, or an app, an artifact or another run needs it.
        """


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

    def serve(
        self,
        spec: AppSpec,
        declared: Sequence[str] = (),
        share: int = 100,
        canary: CanarySpec | None = None,
        shadow: ShadowSpec | None = None,
    ) -> Awaitable[AskedVersion]:
        """Make a version the wanted one; its outputs of tasks are pinned to runs first.

        With a smaller ``share`` it has so many percent of the requests, and the version that serves has the rest; where
        none does it has all. A ``canary`` has the share of its steps, a ``shadow`` copies of requests. An
        unchanged version that serves is left alone.
        ``declared`` are the tasks that the caller knows: one of them may be meant by a name that is none.

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

    def parts(self, name: str) -> Awaitable[list[ReplicaInfo]]:
        """The processes of the deployments behind the replicas of an app of Ray Serve's; errors as in :meth:`get`.

        Before the ``#`` in a ``replica_id`` is the deployment's name. They take no requests, so their ``port`` is 0.
        """

    def versions(self, name: str) -> Awaitable[list[AppVersion]]:
        """The versions of an app, newest first; errors as in :meth:`get`."""

    def set_traffic(self, name: str, shares: dict[str, int], sticky: str | None = None) -> Awaitable[AppInfo]:
        """Give versions of an app these percent of its requests, as soon as all of them are ready.

        A version that does not run is started; one that has no share any more ends what it has and is ended. ``sticky``
        is what keeps a client to one version.

        Raises:
            AppNotFoundError: as in :meth:`get`.
            RuntimeUserError: it is stopped.
            ValueError: it has no such version, or the shares are no percent.
        """

    def set_shadow(self, name: str, version: str | None, shadow: ShadowSpec) -> Awaitable[AppInfo]:
        """Have a version of an app get copies of requests, in place of another one; None ends the shadow that there is.

        Raises:
            AppNotFoundError: as in :meth:`get`.
            RuntimeUserError: no version serves whose requests could be copied; for None, it has no shadow.
            ValueError: it has no such version, or users get, or are to get, its answers.
        """

    def rollback(self, name: str) -> Awaitable[AppInfo]:
        """Undo the last change of an app's traffic: what is shared goes to the version that serves, or all to the one
        that served before; errors as in :meth:`set_traffic`, RuntimeUserError where there is none.
        """

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

    def advise(self, replica_id: str, version: str, advice: Advice | None) -> Awaitable[Signals | None]:
        """Take what a policy has said of a version, in a replica of it, and tell what it is to be asked next.

        None for a replica that is not to ask it, as another one does.
        """

    def replica_failed(self, version: str, error: ErrorInfo) -> Awaitable[None]:
        """A replica could not start."""

    def part_ready(self, version: str) -> Awaitable[None]:
        """A process of a deployment behind the replicas of a version is up."""

    def replica_stopping(self, replica_id: str, version: str) -> Awaitable[float]:
        """A replica takes no more requests; for how many seconds it may go on at most."""


class Traffic(Protocol):
    """The requests to apps, as the ingresses have seen them."""

    def loads(self) -> Awaitable[list[VersionLoad]]:
        """The load of each version of an app of which something runs, by app."""

    def metrics(self) -> Awaitable[bytes]:
        """All that is measured of the cluster, in Prometheus' text format."""

    def access(self, app: str, count: int, places: dict[str, Place]) -> Awaitable[dict[str, Page]]:
        """A page of the access log of each machine, by its address: the last ``count`` entries of an app, or those from
        the places on that were told before.

        Raises:
            RuntimeUserError: no access log is written.
        """


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

    def create(self, wanted: KeySpec, digest: str) -> Awaitable[KeyInfo]:
        """Let in the owner of that key from the moment that this returns.

        ValueError for a bad or taken name, a name that no app can have, or an end in the past.
        """

    def listall(self, limit: int | None) -> Awaitable[list[KeyInfo]]:
        """Keys by name; all of them for None."""

    def changes(self, limit: int | None) -> Awaitable[list[KeyChange]]:
        """Who has made and deleted which key, the newest first; all of it for None."""

    def delete(self, name: str, by: str | None = None) -> Awaitable[None]:
        """Answer no more requests with that key from the moment that this returns, and end what is open for it.

        ``by`` is who asks for it. KeyNotFoundError where there is none.
        """


class Controller(Protocol):
    """The controller: the one actor that everybody talks to. It is on no request's path."""

    code: Code
    storage: SharedStorage
    images: Images
    tasks: Tasks
    triggers: Triggers
    artifacts: Artifacts
    runs: Runs
    conditions: Conditions
    leases: Leases
    retention: Retention
    outputs: Outputs
    apps: Apps
    traffic: Traffic
    secrets: Secrets
    keys: Keys

    def info(self, address: str | None) -> Awaitable[ClusterInfo]:
        """The cluster's addresses and places, for code on the machine of that address of the cluster."""

    def gets_less(self, environment: EnvironmentSpec, replicas: int) -> Awaitable[str | None]:
        """The resources that an environment asks for and does not get in full here, in words."""


def controller(before: Callable[[], object] | None = None) -> Controller:
    """The controller of the connected cluster; ``before`` is called before each question, and may block to connect."""
    return cast(Controller, Stub(CONTROLLER, before=before))
