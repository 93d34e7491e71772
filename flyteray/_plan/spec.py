"""A spec is what is asked for, as it travels between driver, controller, workers and replicas: a frozen value."""

from __future__ import annotations

import hashlib
import math
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from flyteray._declare.facts import Owner, Priority, Role


class Spec(BaseModel):
    """A frozen value; unknown fields are refused so that a typo never passes silently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def digest(self) -> str:
        """A stable hash of the content: 12 hex characters."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


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


class KeySpec(Spec):
    """A key that is asked for: whose it is, its role, the apps that it opens (none: all), and when it ends.

    ``by`` is who asks for it, ``priority`` whether its requests go before those of others where there is a queue.
    """

    name: str
    role: Role = "invoke"
    apps: tuple[str, ...] = ()
    expires_at: datetime | None = None
    by: str | None = None
    priority: Priority = "normal"


class KeyInfo(KeySpec):
    """A key that apps which require auth ask for; the key itself is known to its owner only."""

    created_at: datetime


class KeyChange(Spec):
    """Who has made or deleted the key of a name, and when."""

    name: str
    action: Literal["created", "deleted"]
    at: datetime
    by: str | None = None


class InstallSpec(Spec):
    """One run of pip: the lines of a requirements file, those of a constraints file, and pip's options."""

    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class ImageSpec(Spec):
    """What a process finds beyond the packages of the cluster's own environment.

    ``installs`` come one after the other; ``container`` is the URI of an image to run in instead; ``secrets`` are for
    the build. ``name`` is for people. The image of a ``program`` is found by that program alone, not by a process of
    Ray: it may have what Ray can't live with, and another ``python`` (a version specifier), which with
    ``python_required`` has to be there.
    """

    name: str
    installs: tuple[InstallSpec, ...] = ()
    container: str | None = None
    secrets: tuple[SecretSpec, ...] = ()
    program: bool = False
    python: str | None = None
    python_required: bool = False

    @property
    def key(self) -> str:
        """The name of its build: equal content is built once, under whatever name."""
        return self.model_copy(update={"name": ""}).digest()


class Start(NamedTuple):
    """What the processes of an image need to be started: the key and the text of one that was built, or a container."""

    key: str = ""
    text: str = ""
    container: str = ""


NO_IMAGE = Start()


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
        try:
            delay = self.base_s * self.factor**attempt
        except OverflowError:
            delay = math.inf  # there is a cap where the factor is more than 1
        return delay if self.cap_s is None else min(delay, self.cap_s)


class TimeoutSpec(Spec):
    """The seconds that one attempt may run and may wait for its start, and all attempts may take; None: no limit."""

    max_runtime_s: float | None = None
    max_queued_s: float | None = None
    deadline_s: float | None = None


class CacheSpec(Spec):
    """Which results of a task are reused: those of code that has the name ``version``, and are not too old.

    ``override`` computes anew and keeps. With ``serialize`` one of equal calls computes, and the others wait for it.
    """

    behavior: Literal["auto", "override"] = "auto"
    version: str = ""
    ignored_inputs: tuple[str, ...] = ()
    serialize: bool = False
    max_age_s: float | None = None


class ReuseSpec(NamedTuple):
    """The warm processes of an environment: from ``least`` to ``most``, each with so many calls at one time.

    One that was idle for ``scaledown_s`` ends, and all do when nobody has used them for ``idle_s``.
    """

    least: int
    most: int
    concurrency: int
    idle_s: float
    scaledown_s: float
    of_one_run: bool = False


class Caching(NamedTuple):
    """The word of a run on results that are kept: it may want none, new ones, or those of its own project alone."""

    disabled: bool = False
    overwrite: bool = False
    own_project: bool = False


class CachedCall(NamedTuple):
    """One call of a task: where its result is kept, and which result will do.

    ``owner`` names the project and domain, and is empty where there are none; with ``own`` only their results will do.
    """

    task: str
    key: str
    owner: str = ""
    own: bool = False
    read: bool = True
    serialize: bool = False
    max_age_s: float | None = None


class TaskSpec(Spec):
    """A task as the cluster sees it; ``name`` is the full name, ``environment.function``.

    ``version`` is the one that it was deployed as; None where it comes straight from a driver. With
    ``produces_artifacts`` those among its outputs are kept.
    """

    name: str
    code: CodeRef
    environment: EnvironmentSpec
    retry: RetrySpec = RetrySpec()
    version: str | None = None
    timeout: TimeoutSpec = TimeoutSpec()
    reuse: ReuseSpec | None = None
    cache: CacheSpec | None = None
    produces_artifacts: bool = False


class InputSpec(Spec):
    """An input of a task in words: its type's name and the repr of its default; None for a required one."""

    name: str
    type: str
    default: str | None = None


class TaskPlan(Spec):
    """A version of a task as it is deployed: what runs, what it takes, and the types by name that it returns.

    ``entrypoint`` is a hint for people that runs begin with it.
    """

    spec: TaskSpec
    inputs: tuple[InputSpec, ...] = ()
    outputs: dict[str, str] = {}
    docs: str = ""
    entrypoint: bool = False

    @property
    def name(self) -> str:
        """The full name."""
        return self.spec.name

    @property
    def version(self) -> str:
        """The version."""
        assert self.spec.version is not None
        return self.spec.version


class NotificationSpec(Spec):
    """Who is told when a run ends in one of ``phases``: a class of :mod:`flyteray.notify`, and what it was given.

    Without phases it says itself which ones they are.
    """

    kind: str
    phases: tuple[str, ...] = ()
    stated: dict[str, Any] = {}


class RunWide(Spec):
    """What all actions of a run find that its caller has said.

    ``env_vars`` go before those of the tasks; ``raw_data_path`` is where files go in place of the storage.
    ``recovers`` is an earlier run whose actions that have succeeded need not run, but for those in ``again``;
    ``caching`` is what it says of results that are kept, ``start_time`` when it was asked for. No more than
    ``max_action_concurrency`` actions run at one time; 0: as many as there is room for.
    """

    env_vars: dict[str, str] = {}
    custom_context: dict[str, str] = {}
    raw_data_path: str | None = None
    recovers: str | None = None
    again: tuple[str, ...] = ()
    caching: Caching = Caching()
    max_action_concurrency: int = 0
    start_time: datetime | None = None


class RunSpec(Spec):
    """One execution of a task asked for from outside.

    ``request`` tells two requests for one name apart from one request that is sent again. ``inputs`` is the key in
    storage of inputs that are too large to travel with the request. ``owner`` is whose it is, ``cached`` its call where
    the result is kept, ``notifications`` are who is told of its end, ``labels`` are for finding it, ``links`` those
    of its root by name. The worker of one that is ``unchecked`` checks its inputs, as who asked had names only.
    ``trace`` is what it has of the trace of who asked.
    """

    name: str
    task: TaskSpec
    request: str = ""
    inputs: str | None = None
    owner: Owner = Owner()
    wide: RunWide = RunWide()
    labels: dict[str, str] = {}
    links: dict[str, str] = {}
    cached: CachedCall | None = None
    notifications: tuple[NotificationSpec, ...] = ()
    unchecked: bool = False
    trace: tuple[str, ...] = ()


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


class WindowSpec(Spec):
    """A time that begins with each tick of a ``cron`` expression by the clock of ``timezone``, and its bounds.

    For ``lasts_s`` seconds an app has ``least`` to ``most`` replicas, and sleeps as :class:`ScalingSpec` says.
    """

    cron: str
    timezone: str
    lasts_s: float
    least: int
    most: int
    sleeps_after_s: float | None = None


class ScalingSpec(Spec):
    """What an app's number of replicas follows, up to ``most``: so much traffic is one replica's ``share``.

    ``by`` is requests at one time or requests a second, or the ``policy`` of that name, which is asked in a replica.
    Fewer replicas must have been enough for ``scaledown_after_s`` seconds before there are fewer. Unused for
    ``sleeps_after_s`` seconds it has none; None: it keeps the least. In ``windows`` the bounds are others.
    """

    most: int
    by: Literal["concurrency", "request_rate", "policy"]
    share: float = 1.0
    scaledown_after_s: float
    sleeps_after_s: float | None = None
    windows: tuple[WindowSpec, ...] = ()
    policy: str | None = None


class LimitsSpec(Spec):
    """What an app takes at most, 0 for no limit: requests at each replica at one time, and so many more that wait for
    each; requests per second of a key or an address (``rate``); bytes of a body and of the headers.
    """

    concurrency: int = 0
    queue: int = 0
    rate: int = 0
    body: int = 0
    headers: int = 0


class PartSpec(Spec):
    """A deployment of a Ray Serve application that its ingress deployment calls, directly or not.

    ``options`` are those that its author has set, as Serve's ``DeploymentSchema`` has them, its name among them.
    ``multiplexed`` says that it loads models by their ids.
    """

    options: dict[str, Any]
    multiplexed: bool = False

    @property
    def name(self) -> str:
        """The name, unique in the application."""
        return str(self.options["name"])


class AppSpec(Spec):
    """An app version before it has a number; its digest is its identity.

    ``kind`` says what a replica hosts: an ASGI application (``asgi``), the user's server function (``function``), a
    program (``command``, its words in ``command``) or the ingress deployment of a Ray Serve application (``serve``,
    its other deployments in ``parts``). ``port`` is the port that a function or a program expects to listen on, and
    ``protocol`` what it speaks there: HTTP/1.1, or HTTP/2 without TLS (``h2c``), as gRPC does, by whose protocol it is
    then asked for its health; else ``health_path`` is asked until a program answers. Its code is loaded for its
    ``hooks`` alone.
    ``subdomain`` replaces the app's name in its host name; ``host`` is a whole host name that it answers to as well.
    With ``requires_auth`` it answers only those who send a key, where keys are asked for: one with the role
    ``reading`` for GET and HEAD, and ``acting`` for all else. With ``forward_key`` it is given the key itself.
    Pages of ``allowed_origins`` may open WebSockets.
    ``sticky`` keeps a browser on one replica. There are at least ``replicas`` while it does not sleep, and without
    ``scaling`` no more; so many ``spare`` processes wait for the next one on each machine that has one. A replica that
    is to go may work on for ``drain_s``. ``version`` is a name that the user gave. Times are in seconds.
    """

    name: str
    kind: Literal["asgi", "function", "command", "serve"]
    code: CodeRef
    environment: EnvironmentSpec
    replicas: int = 1
    port: int = 8080
    protocol: Literal["http1", "h2c"] = "http1"
    parameters: tuple[ParameterSpec, ...] = ()
    command: tuple[str, ...] = ()
    parts: tuple[PartSpec, ...] = ()
    hooks: bool = True
    health_path: str = "/health"
    startup_timeout_s: float = 300.0
    request_timeout_s: float | None = None
    drain_s: float = 600.0
    subdomain: str | None = None
    host: str | None = None
    requires_auth: bool = True
    reading: Role = "invoke"
    acting: Role = "invoke"
    forward_key: bool = False
    allowed_origins: tuple[str, ...] = ()
    limits: LimitsSpec | None = None
    links: tuple[LinkSpec, ...] = ()
    sticky: bool = False
    version: str | None = None
    scaling: ScalingSpec | None = None
    spare: int = 0

    @property
    def version_id(self) -> str:
        """Names the version among those of all apps: as the user did, or by its content."""
        # An app's name has no dot.
        return f"{self.name}{'.' if self.version else '-'}{self.version_name}"

    @property
    def version_name(self) -> str:
        """Names the version among those of the app."""
        return self.version or self.digest()

    def digest(self) -> str:
        """A hash of what its replicas are: their number and how they are reached can change while they run."""
        beside = {
            *("acting", "allowed_origins", "forward_key", "limits", "reading", "requires_auth"),
            *("host", "links", "replicas", "request_timeout_s"),
            *("scaling", "spare", "sticky", "subdomain", "version"),
            *(() if self.parts else ("parts",)),  # those without had this digest before there were any
        }
        content = self.model_dump_json(exclude=beside)
        if self.scaling is not None and self.scaling.policy:
            content += self.scaling.policy  # which runs in them
        if self.spare:
            content += f" spare {self.spare}"  # by which they are started in another way
        return hashlib.sha256(content.encode()).hexdigest()[:12]


class LocalPlan(Spec):
    """What a process that runs an app in local mode is told: the version, and what a replica asks a cluster for.

    ``bundle`` is the zip file of the code; ``shared`` is the folder of all local apps of the process that serves them,
    ``folder`` this app's own, to which it writes ``ready`` or ``error``. ``outputs`` tells in which storage the outputs
    of a run are, ``given`` in which files the pickled values of parameters. ``python`` is that of a program's image.
    ``drain_s`` is how long open requests may go on when it is asked to stop.
    """

    READY: ClassVar = "ready"  # a file in the folder, made when the app takes requests
    ERROR: ClassVar = "error"  # a file there, an ErrorInfo, when it could not start or has failed
    NEWEST: ClassVar = (
        "newest.json"  # in the shared folder: run and storage of followed outputs, by their refs' digests
    )
    SECRETS: ClassVar = "FLYTERAY_LOCAL_SECRETS"  # a variable that it takes away before user code runs

    app: AppSpec
    bundle: str
    shared: str
    folder: str
    host: str
    port: int
    outputs: dict[str, str] = {}
    given: dict[str, str] = {}
    python: str | None = None
    drain_s: float = 4.0
