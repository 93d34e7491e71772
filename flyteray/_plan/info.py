"""Secrets, tasks, runs, actions, apps, replicas and the cluster are told of as values between its processes."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flyteray._plan.spec import EnvironmentSpec, Spec, TaskPlan
from flyteray._plan.values.text import printable

Words = Annotated[
    str, BeforeValidator(printable)
]  # text from anywhere, such that it can be stored and printed

_LOCALHOST = ("127.0.0.1", "::1")  # where browsers look for names below localhost


class ActionPhase(str, Enum):
    """Where an action (or the run whose root it is) stands.

    Of what has not begun: ``queued`` is what nothing more is known of, ``waiting_for_resources`` what no node has room
    for at the moment, ``initializing`` what waits for its image or its worker process.
    """

    QUEUED = "queued"
    WAITING_FOR_RESOURCES = "waiting_for_resources"
    INITIALIZING = "initializing"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ABORTED = "aborted"
    TIMED_OUT = "timed_out"
    RECOVERED = "recovered"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self in _TERMINAL

    def __str__(self) -> str:
        return self.value


_TERMINAL = (
    *(ActionPhase.SUCCEEDED, ActionPhase.FAILED, ActionPhase.ABORTED),
    *(ActionPhase.TIMED_OUT, ActionPhase.RECOVERED),
)
BEFORE_IT_BEGINS = (ActionPhase.QUEUED, ActionPhase.WAITING_FOR_RESOURCES, ActionPhase.INITIALIZING)


class SecretInfo(Spec):
    """A secret that is kept; its value is told to the processes that ask for it only.

    ``taken`` tells one that nobody has created: the local cluster took it from the environment of who ran or served.
    """

    name: str
    created_at: datetime
    updated_at: datetime
    taken: bool = False


class TaskInfo(Spec):
    """A deployed version of a task as the registry knows it; ``deployed_at`` is when it was deployed last, in UTC."""

    plan: TaskPlan
    deployed_at: datetime


_SUMMARY = 2000  # characters
STARTUP_TIMEOUT = "StartupTimeout"  # the code of the error of an app that was not ready in time


class ErrorInfo(Spec):
    """An exception that crosses processes: printable everywhere, the original where it can be unpickled.

    ``code`` is the class name of the user's exception; ``traceback`` holds the user's frames only;
    ``pickled`` is the exception object itself, or None when it can't be pickled; ``log`` holds the last lines that an
    app had written before it failed; ``final`` tells that trying again is pointless.
    """

    code: Words
    kind: Literal["user", "system", "unknown"] = "user"
    message: Words
    traceback: Words = ""
    log: Words = ""
    pickled: bytes | None = Field(default=None, repr=False)
    final: bool = False

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", frozen=True, extra="forbid")

    @property
    def summary(self) -> str:
        """The class and the beginning of the message, which begins with it where the error is that of a child."""
        said = self.message[:_SUMMARY].removeprefix(f"{self.code}: ")
        return f"{self.code}: {said}" if said else self.code


class RunInfo(Spec):
    """A run as the registry knows it. Times are UTC; ``output_bytes`` is the size of the stored output.

    ``waiting`` says what it, or actions of it, wait for at the moment. ``cached`` is the run whose result it has, where
    its own task was not run for it. ``version`` is that of its task, ``labels`` are those that it was given.
    """

    name: str
    task: str
    phase: ActionPhase
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: ErrorInfo | None = None
    output_bytes: int | None = None
    waiting: str | None = None
    version: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    cached: str | None = None


class NoticeInfo(Spec):
    """A notification of a run that has ended, of a ``kind`` of :mod:`flyteray.notify`.

    It was sent at ``sent_at``, or ``error`` says why it was not, and ``next_try_at`` when it is tried again (None: no
    more is). Times are UTC.
    """

    kind: str
    tries: int
    sent_at: datetime | None = None
    error: Words | None = None
    next_try_at: datetime | None = None


class RunEnd(Spec):
    """How a run ended, reported by its keeper. ``output_bytes`` is the size of its outputs in storage.

    ``cached`` is the run whose result it has, where its own task was not run for it.
    """

    run: str
    phase: ActionPhase
    error: ErrorInfo | None = None
    output_bytes: int | None = None
    cached: str | None = None


class ActionEvent(Spec):
    """A change in the life of an action, reported by the process that saw it; later phases win.

    ``at`` is when it happened, ``began`` when the action's function was called (None: it was not, or the reporter
    does not know), ``called`` when its caller called it (None for a root), all in seconds since the epoch.
    ``environment`` is what a queued one asks for. ``group`` is the one that its caller has named, ``cached`` the run
    whose result it has. ``inputs`` are its pickled inputs, where they are small. ``links`` are its addresses by name.
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
    environment: EnvironmentSpec | None = None
    group: str | None = None
    called: float | None = None
    inputs: bytes | None = None
    links: dict[str, str] = Field(default_factory=dict)
    cached: str | None = None


class ChildDone(NamedTuple):
    """A child that has succeeded, as its caller knows it: when it was called, and when its value was there."""

    action: str
    task: str
    group: str | None
    called: float | None
    at: float


class ChildrenDone(NamedTuple):
    """The children of an action that have succeeded, as it knows them at its end."""

    run: str
    parent: str
    children: list[ChildDone]

    def event(self, child: ChildDone) -> ActionEvent:
        """The end of one of the children: what its own worker tells of it is told better, and counts as well."""
        return ActionEvent.model_construct(
            run=self.run, parent=self.parent, phase=ActionPhase.SUCCEEDED, **child._asdict()
        )


class ActionInfo(Spec):
    """An action as the registry knows it; the run's root is ``a0``. ``waiting`` is as that of a run.

    ``group`` is the one that its caller has named: see :func:`flyteray.group`. ``cached`` is the run whose result
    it has, where its task was not run for it. ``created_at`` is when it was called. ``links`` are the addresses that
    its task has for it, by their names.
    """

    run: str
    action: str
    parent: str | None
    task: str
    phase: ActionPhase
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    error: str | None
    waiting: str | None = None
    group: str | None = None
    created_at: datetime | None = None
    links: dict[str, str] = Field(default_factory=dict)
    cached: str | None = None


class AttemptInfo(Spec):
    """One try of an action; ``attempt`` counts from 1. One without ``started_at`` ended before it began."""

    run: str
    action: str
    attempt: int
    phase: ActionPhase
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


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
    """A ready replica as it is shown: the fields after ``port`` are those of :class:`ReplicaInfo`.

    ``unreached_by`` are the addresses of machines whose ingress its own machine has not answered for seconds: what they
    are asked goes to other replicas.
    """

    name: str
    host: str
    port: int
    outputs: dict[str, str] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    blocked: bool = False
    unwell: bool = False
    working: bool = False
    unreached_by: tuple[str, ...] = ()


class AppInfo(Spec):
    """An app as the registry knows it.

    ``version`` is the one that serves (None: none does), ``target`` the newest one asked for, ``revision`` counts
    the versions. ``error`` belongs to ``target``: why it did not come up. ``waiting`` says what ``target`` waits for.
    ``scaling`` says why it is to have that many ``replicas``, where their number follows something.
    ``asleep`` tells that the version that serves has no replica because nobody uses it: the first request wakes it.
    ``lineage`` tells where its parameters come from, ``replica_list`` how the ready replicas are.
    ``hosts`` are the host names that it answers to besides ``<name>.localhost``; ``links`` are URLs by title.
    ``traffic`` is what percent of its requests each version has, where there is more than one.
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
    lineage: dict[str, Lineage] = Field(default_factory=dict)
    replica_list: tuple[ReplicaStatus, ...] = ()
    waiting: str | None = None
    scaling: str | None = None
    asleep: bool = False
    hosts: tuple[str, ...] = ()
    links: dict[str, str] = Field(default_factory=dict)
    traffic: dict[str, int] = Field(default_factory=dict)


class AskedVersion(Spec):
    """A version that was asked for, by its id once its outputs are pinned, and its app."""

    version: str
    app: AppInfo


class CanaryFigures(Spec):
    """How the requests of a version went while a canary was compared; latencies are in seconds, None for no answer."""

    requests: int
    error_rate: float
    p50_s: float | None
    p90_s: float | None


class CanaryInfo(Spec):
    """A canary: it is in its ``step``, from 1, or was at its end, and ``reason`` tells why it did not take over."""

    outcome: str
    reason: str | None
    step: int
    steps: tuple[int, ...]
    canary: CanaryFigures
    serving: CanaryFigures


class ShadowFigures(Spec):
    """How those requests went that a shadow and the version that serves have both answered.

    ``classes`` are the answers by the class of their status, as in ``{"2xx": 12}``. Latencies are in seconds, from when
    the copy was made to the answer's headers; None for no answer.
    """

    classes: dict[str, int]
    p50_s: float | None
    p90_s: float | None


class ShadowInfo(Spec):
    """A shadow: it gets copies of a ``share`` of the requests to ``beside``, of safe methods only with ``safe_only``.

    ``outcome`` is ``running``, or ``ended`` for a ``reason``. ``copied`` are the requests that were copied,
    ``left_out`` those that were not, by the reason: ``many`` (too many copies were open), ``large`` (their body was, or
    had no stated length), ``kind`` (a WebSocket, gRPC, an event stream). Of ``compared`` both answers are there, in
    ``shadow`` and ``live``, and ``otherwise`` are those with another status: how often by the shadow's status and the
    live one, as in ``{"500 200": 3}``.
    """

    outcome: str
    reason: str | None
    share: float
    safe_only: bool
    beside: str | None
    copied: int
    left_out: dict[str, int]
    compared: int
    otherwise: dict[str, int]
    shadow: ShadowFigures
    live: ShadowFigures


class AppVersion(Spec):
    """A version of an app: ``name`` names it among those of the app, ``id`` among those of all apps.

    ``share`` are the percent of the app's requests that it has now, ``wanted`` those that it is to have. ``phase`` is
    ``pending``, ``deploying``, ``ready``, ``draining``, ``failed`` or ``retired``; the last two don't run.
    """

    name: str
    id: str
    revision: int
    phase: str
    share: int
    wanted: int
    ready_replicas: int
    created_at: datetime
    error: ErrorInfo | None = None
    canary: CanaryInfo | None = None
    shadow: ShadowInfo | None = None


class ReplicaInfo(Spec):
    """A replica that is ready: where it listens and the Ray actor whose life is its own.

    ``outputs`` tells which run each parameter's value is of, ``refused`` why the app did not take a newer one;
    ``blocked`` that its event loop does not answer at the moment, ``unwell`` that its server says that it does not take
    requests, ``working`` that it goes on with what requests have left running.
    """

    replica_id: str
    actor_name: str
    version: str
    host: str
    port: int
    pid: int
    outputs: dict[str, str] = Field(default_factory=dict)
    refused: dict[str, str] = Field(default_factory=dict)
    blocked: bool = False
    unwell: bool = False
    working: bool = False


class ClusterInfo(Spec):
    """What a client must know. Patterns have ``{app_fqdn}`` where the app's name goes: ``endpoint_pattern`` is for
    people and programs anywhere, ``near_pattern`` for code on the machine of whoever asked, where that is another one.

    The head's ingress listens on ``ingress_host`` and ``ingress_port``; with ``auth`` it asks for keys. Where clients
    come by TLS they do so on ``tls_port``, and ``tls`` says in words by which certificate, and what is wrong with it.
    Processes send traces as the variables of OpenTelemetry in ``traces`` say; without any there are none.
    """

    storage: str
    ingress_host: str
    ingress_port: int
    tls_port: int = 0
    tls: str = ""
    endpoint_pattern: str
    auth: bool = False
    public: bool = False  # the pattern is what the settings say, not the head's address
    near_pattern: str | None = None
    near_problem: str | None = None  # why the machine of whoever asked has no ingress
    machines: dict[str, str] = Field(default_factory=dict)  # how the ingress of each is, by address
    traces: tuple[tuple[str, str], ...] = Field(default=(), repr=False)

    @property
    def pattern_for_code(self) -> str:
        """The addresses of apps for code on the machine of whoever asked."""
        return self.near_pattern or self.endpoint_pattern

    def url(self, app: str, subdomain: str | None = None) -> str:
        """The address for browsers: a host of its own, where no other machine is to find it; else a path."""
        if self.ingress_host in _LOCALHOST and not self.public:
            scheme, port = ("https", self.tls_port) if self.tls_port else ("http", self.ingress_port)
            return f"{scheme}://{subdomain or app}.localhost:{port}/"
        return self.endpoint(app) + "/"

    def endpoint(self, app: str) -> str:
        """The address that needs no name resolution: a path."""
        return self.endpoint_pattern.replace("{app_fqdn}", app)


def to_json(value: BaseModel) -> dict[str, Any]:
    """A model as plain JSON values, for ``--output json``."""
    return value.model_dump(mode="json")
