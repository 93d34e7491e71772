"""The words that travel between driver, controller, workers and replicas: validated, frozen, printable, hashable."""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_LOCALHOST = ("127.0.0.1", "::1")  # where browsers look for names below localhost


class Spec(BaseModel):
    """A frozen value; unknown fields are refused so that a typo never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """A stable hash of the content: 12 hex characters."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class ActionPhase(str, Enum):
    """Where an action (or the run whose root it is) stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self in (ActionPhase.SUCCEEDED, ActionPhase.FAILED, ActionPhase.ABORTED)

    def __str__(self) -> str:
        return self.value


class CodeRef(Spec):
    """Where a task or an app environment is found: a name in a module in a bundle.

    ``module`` is empty when the object has no importable home (a notebook, a closure): then the bundle
    holds it pickled by value under ``name``. ``bundle`` is empty when nothing was shipped. Then ``version`` tells one
    state of the cluster's own code from the next.
    """

    bundle: str
    module: str
    name: str
    version: str = ""


class SecretSpec(Spec):
    """A secret by name: which one, and where its value is put. The value is in no spec."""

    key: str
    group: str | None = None
    env_var: str | None = None
    mount: str | None = None

    @property
    def name(self) -> str:
        """Which one: ``key``, or ``group/key``."""
        return f"{self.group}/{self.key}" if self.group else self.key


class SecretInfo(Spec):
    """A secret that is kept; its value is told to the processes that ask for it only."""

    name: str
    created_at: datetime
    updated_at: datetime


class KeyInfo(Spec):
    """A key that apps which require auth ask for; the key itself is known to its owner only."""

    name: str
    created_at: datetime


class InstallSpec(Spec):
    """One run of pip: the lines of a requirements file, those of a constraints file, and pip's options."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class ImageSpec(Spec):
    """What a process finds beyond the packages of the cluster's own environment.

    ``installs`` come one after the other; ``container`` is the URI of an image to run in instead; ``secrets`` are for
    the build. ``name`` is for people.
    """

    name: str
    installs: tuple[InstallSpec, ...] = ()
    container: str | None = None
    secrets: tuple[SecretSpec, ...] = ()

    @property
    def key(self) -> str:
        """The name of its build: equal content is built once, under whatever name."""
        return self.model_copy(update={"name": ""}).digest()


class EnvironmentSpec(Spec):
    """What Ray is asked for.

    ``memory`` in bytes; ``resources`` are Ray's custom ones; ``labels`` are what a node's labels must be.
    """

    env_vars: dict[str, str] = {}
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    memory: int | None = None
    accelerator_type: str | None = None
    resources: dict[str, float] = {}
    labels: dict[str, str] = {}
    secrets: tuple[SecretSpec, ...] = ()
    image: ImageSpec | None = None


class RetrySpec(Spec):
    """How often to try again after a failure; delays in seconds."""

    count: int = 0
    base_s: float = 0.0
    factor: float = 1.0
    cap_s: float | None = None

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait before the attempt after ``attempt`` (counted from 0)."""
        delay = self.base_s * self.factor**attempt
        return delay if self.cap_s is None else min(delay, self.cap_s)


class TaskSpec(Spec):
    """A task as the cluster sees it; ``name`` is the full name, ``environment.function``.

    ``version`` is the one that it was deployed as; None where it comes straight from a driver.
    """

    name: str
    code: CodeRef
    environment: EnvironmentSpec
    retry: RetrySpec = RetrySpec()
    version: str | None = None


class InputSpec(Spec):
    """An input of a task in words: its type's name and the repr of its default; None for a required one."""

    name: str
    type: str
    default: str | None = None


class TaskPlan(Spec):
    """A version of a task as it is deployed: what runs, what it takes, and the types by name that it returns."""

    spec: TaskSpec
    inputs: tuple[InputSpec, ...] = ()
    outputs: dict[str, str] = {}
    docs: str = ""

    @property
    def name(self) -> str:
        """The full name."""
        return self.spec.name

    @property
    def version(self) -> str:
        """The version."""
        assert self.spec.version is not None
        return self.spec.version


class TaskInfo(Spec):
    """A deployed version of a task as the registry knows it; ``deployed_at`` is when it was deployed last, in UTC."""

    plan: TaskPlan
    deployed_at: datetime


class RunSpec(Spec):
    """One execution of a task asked for from outside.

    ``request`` tells two requests for one name apart from one request that is sent again.
    """

    name: str
    task: TaskSpec
    request: str = ""


STARTUP_TIMEOUT = "StartupTimeout"  # the code of the error of an app that was not ready in time


class ErrorInfo(Spec):
    """An exception that crosses processes: printable everywhere, the original where it can be unpickled.

    ``code`` is the class name of the user's exception; ``traceback`` holds the user's frames only;
    ``pickled`` is the exception object itself, or None when it can't be pickled; ``log`` holds the last lines that an
    app had written before it failed.
    """

    code: str
    kind: Literal["user", "system", "unknown"] = "user"
    message: str
    traceback: str = ""
    log: str = ""
    pickled: bytes | None = Field(default=None, repr=False)

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", frozen=True, extra="forbid")


class RunInfo(Spec):
    """A run as the registry knows it. Times are UTC; ``output_bytes`` is the size of the stored output."""

    name: str
    task: str
    phase: ActionPhase
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: ErrorInfo | None = None
    output_bytes: int | None = None


class RunEnd(Spec):
    """How a run ended, reported by its keeper. ``output_bytes`` is the size of its outputs in storage."""

    run: str
    phase: ActionPhase
    error: ErrorInfo | None = None
    output_bytes: int | None = None


class ActionEvent(Spec):
    """A change in the life of an action, reported by the process that saw it; later phases win.

    ``at`` is when it happened, ``began`` when the action's function was called (None: it was not, or the reporter
    does not know), both in seconds since the epoch.
    """

    run: str
    action: str
    parent: str | None
    task: str
    phase: ActionPhase
    attempt: int = 0
    at: float
    began: float | None = None
    error: str | None = None


class ActionInfo(Spec):
    """An action as the registry knows it; the run's root is ``a0``."""

    run: str
    action: str
    parent: str | None
    task: str
    phase: ActionPhase
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None


class OutputRef(Spec):
    """Which output: a run's by name, or the newest successful run's of a task.

    ``task_version`` is the version of the task that the run is of; with ``latest_version`` the one deployed last.
    ``getter`` is applied to the tuple of outputs, so ``(0,)`` is the first output. With ``follow`` it is the newest
    at any time, so ``run_name`` stays None.
    """

    run_name: str | None = None
    task_name: str | None = None
    task_version: str | None = None
    latest_version: bool = False
    getter: tuple[int | str, ...] = (0,)
    follow: bool = False


class ParameterSpec(Spec):
    """A parameter of an app version with its value pinned: either ``value`` or ``output``.

    ``hash`` tells what the value's content was when it was pinned; None where that is not known.
    """

    name: str
    kind: Literal["string", "file", "directory", "app_endpoint", "object"]
    value: str | None = None
    output: OutputRef | None = None
    env_var: str | None = None
    download: bool = True
    mount: str | None = None
    ignore_patterns: tuple[str, ...] = ()
    hash: str | None = None


class LinkSpec(Spec):
    """A link shown with an app."""

    title: str
    path: str
    is_relative: bool = False


class ScalingSpec(Spec):
    """What an app's number of replicas follows, up to ``most``: so much traffic is one replica's ``share``.

    ``by`` is requests at one time or requests a second. Fewer replicas must have been enough for
    ``scaledown_after_s`` seconds before there are fewer. Unused for ``sleeps_after_s`` seconds it has none; None: it
    keeps the least.
    """

    most: int
    by: Literal["concurrency", "request_rate"]
    share: float
    scaledown_after_s: float
    sleeps_after_s: float | None = None


class AppSpec(Spec):
    """An app version before it has a number; its digest is its identity.

    ``kind`` says what a replica hosts: an ASGI application (``asgi``), the user's server function (``function``) or a
    program (``command``, its words in ``command``). ``port`` is the port that a function or a program expects to
    listen on; ``health_path`` is asked until a program answers. ``subdomain`` replaces the app's name in its host name;
    ``host`` is a whole host name that it answers to as well. With ``requires_auth`` it answers only those who send a
    key, where keys are asked for. ``sticky`` keeps a browser on one replica. There are at least ``replicas`` while it
    does not sleep, and without ``scaling`` no more. ``version`` is a name that the user gave. Times are in seconds.
    """

    name: str
    kind: Literal["asgi", "function", "command"]
    code: CodeRef
    environment: EnvironmentSpec
    replicas: int = 1
    port: int = 8080
    parameters: tuple[ParameterSpec, ...] = ()
    command: tuple[str, ...] = ()
    health_path: str = "/health"
    startup_timeout_s: float = 300.0
    request_timeout_s: float | None = None
    subdomain: str | None = None
    host: str | None = None
    requires_auth: bool = True
    links: tuple[LinkSpec, ...] = ()
    sticky: bool = False
    version: str | None = None
    scaling: ScalingSpec | None = None

    @property
    def version_id(self) -> str:
        """Names the version among those of all apps: as the user did, or by its content."""
        # An app's name has no dot.
        return f"{self.name}.{self.version}" if self.version else f"{self.name}-{self.digest()}"

    def digest(self) -> str:
        """A hash of what its replicas are: their number and how they are reached can change while they run."""
        beside = {
            "host",
            "links",
            "replicas",
            "request_timeout_s",
            "requires_auth",
            "scaling",
            "sticky",
            "subdomain",
            "version",
        }
        content = self.model_dump_json(exclude=beside)
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class AppPhase(str, Enum):
    """What is observed of an app."""

    DEPLOYING = "deploying"
    ACTIVE = "active"
    FAILED = "failed"
    STOPPED = "stopped"

    def __str__(self) -> str:
        return self.value


class Lineage(Spec):
    """Where the value of a parameter of an app comes from.

    ``run`` is the run that it is an output of and ``output`` which one, as Python; with ``follow`` ``run`` is None
    while replicas serve different runs. ``hash`` names the content.
    """

    run: str | None = None
    output: str | None = None
    hash: str | None = None
    follow: bool = False


class ReplicaStatus(Spec):
    """A ready replica as it is shown: ``outputs``, ``refused`` and ``blocked`` are those of :class:`ReplicaInfo`."""

    name: str
    host: str
    port: int
    outputs: dict[str, str] = {}
    refused: dict[str, str] = {}
    blocked: bool = False


class AppInfo(Spec):
    """An app as the registry knows it.

    ``version`` is the one that serves (None: none does), ``target`` the newest one asked for, ``revision`` counts
    the versions. ``error`` belongs to ``target``: why it did not come up. ``waiting`` says what ``target`` waits for.
    ``asleep`` tells that the version that serves has no replica because nobody uses it: the first request wakes it.
    ``lineage`` tells where its parameters come from, ``replica_list`` how the ready replicas are.
    ``hosts`` are the host names that it answers to besides ``<name>.localhost``; ``links`` are URLs by title.
    """

    name: str
    phase: AppPhase
    desired: Literal["active", "stopped"]
    version: str | None
    target: str
    revision: int
    ready_replicas: int
    replicas: int
    url: str
    endpoint: str
    created_at: datetime
    updated_at: datetime
    error: ErrorInfo | None = None
    lineage: dict[str, Lineage] = {}
    replica_list: tuple[ReplicaStatus, ...] = ()
    waiting: str | None = None
    asleep: bool = False
    hosts: tuple[str, ...] = ()
    links: dict[str, str] = {}


class ReplicaInfo(Spec):
    """A replica that is ready: where it listens and the Ray actor whose life is its own.

    ``outputs`` tells which run each parameter's value is of, ``refused`` why the app did not take a newer one;
    ``blocked`` that its event loop does not answer at the moment.
    """

    replica_id: str
    actor_name: str
    version: str
    host: str
    port: int
    pid: int
    outputs: dict[str, str] = {}
    refused: dict[str, str] = {}
    blocked: bool = False


class ClusterInfo(Spec):
    """What a client must know. ``endpoint_pattern`` has ``{app_fqdn}`` where the app's name goes.

    The ingress listens on ``ingress_host`` and ``ingress_port``; with ``auth`` it asks for keys.
    """

    storage: str
    ingress_host: str
    ingress_port: int
    endpoint_pattern: str
    auth: bool = False

    def url(self, app: str, subdomain: str | None = None) -> str:
        """The address for browsers: a host of its own, where no other machine is to find it; else a path."""
        if self.ingress_host in _LOCALHOST:
            return f"http://{subdomain or app}.localhost:{self.ingress_port}/"
        return self.endpoint(app) + "/"

    def endpoint(self, app: str) -> str:
        """The address that needs no name resolution: a path."""
        return self.endpoint_pattern.replace("{app_fqdn}", app)


def to_json(value: BaseModel) -> dict[str, Any]:
    """A model as plain JSON values, for ``--output json``."""
    data: dict[str, Any] = value.model_dump(mode="json")
    return data
