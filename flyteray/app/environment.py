"""An app environment declares a service that stays up behind an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from flyteray._declare.context import ctx as task_context
from flyteray._declare.environment import Environment, without_meaning
from flyteray._declare.facts import APP_NAME, Role
from flyteray._declare.this_cluster import this_process
from flyteray.app.command import LAUNCHER, check_words, program, split_words
from flyteray.app.context import ctx
from flyteray.app.endpoints import local_endpoints
from flyteray.app.limits import Limits
from flyteray.app.parameters import Parameter, given
from flyteray.app.port import Port, PortField
from flyteray.app.routing import Domain, Link, Timeouts, origins
from flyteray.app.scaling import Scaling
from flyteray.errors import InitializationError

if TYPE_CHECKING:
    from typing_extensions import Self

    from flyteray._declare.facts import SerializationContext

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(eq=False, repr=False)
class AppEnvironment(Environment):
    """A service and what it runs on; deploy it with :func:`flyteray.serve`.

    Say what to run by ``@env.server``, by ``command`` or by ``args``, the first of these that is there, or use a
    ready-made kind from :mod:`flyteray.app.extras`. It takes the fields of :class:`Environment` as well. A replica
    without ``Resources(cpu=...)`` reserves no CPU, so that two versions fit side by side.

    Args:
        name: Lower-case letters, digits and ``-``, with a letter or digit at both ends. Part of the address.
        depends_on: Environments that are needed by this one; apps among them are deployed with it.
        type: A word for people about the kind of app.
        port: The port that the server listens on, an int or a :class:`Port`. In a replica this is the port to use
            instead, because two replicas on a node can't share one. A program finds that one in ``$PORT``, and where
            its words name the declared port (``8080``, ``--port=8080``, ``0.0.0.0:8080``) they name the replica's.
            ``Port(50051, "h2c")`` is that of a gRPC server; see :func:`grpc_address`.
        args: The same as ``command``, and it may be combined with ``parameters``.
        command: A program that serves on the port, as words or as one text that is split as a shell splits it.
            ``$VAR`` stands for an environment variable of the replica. Nothing that it starts outlives the replica.
        requires_auth: Answer only requests with a key that ``flyteray create key`` made, as the header
            ``Authorization: Bearer KEY``; others get 401. The app finds whose it is in the header ``X-Flyteray-User``.
            Keys are asked for where the ingress listens beyond this machine (``FLYTERAY_HOST``), or as
            ``FLYTERAY_AUTH`` says (``on``, ``off``); never in local mode. Tasks and apps that call the app's endpoint
            need one as well: give them a :class:`Secret` that holds it. People in a browser are led to a page of the
            ingress's, ``/-/login``, where they paste their key; a cookie lets them in from then on, WebSockets
            included, and ``/-/logout`` ends that. Changing this restarts no replica.
        forward_key: Give the app the key of its caller, in the header ``Authorization``, so that it can use it for
            other apps; of who has signed in with a browser, the cookie. Otherwise no app sees a key that ``flyteray
            create key`` made; what else a client sends in that header is the app's own business and reaches it, unless
            it requires auth. Changing this restarts no replica. Not of Flyte. Default: False.
        allowed_origins: The origins, such as ``https://page.example``, of pages on other hosts that may open WebSockets
            to it from a browser; ``*`` stands for all. Others get 403. Changing this restarts no replica. Not of Flyte.
        limits: What it takes at most: concurrent requests, requests per second, sizes. Not of Flyte.
        scaling: The number of replicas.
        domain: Host names that it answers to besides its own.
        links: Shown with the app.
        parameters: What the app is given when it starts.
        cluster_pool, cluster: Of Union: mean nothing on Ray, and say so.
        timeouts: How long a request may take, and a replica that is to go.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: A bad name, a reserved or impossible port, two parameters of one name, or parameters beside a
            command.
    """

    type: str | None = None
    port: PortField = PortField(8080)  # noqa: RUF009 # a descriptor, not a value
    args: list[str] | str | None = None
    command: list[str] | str | None = None
    requires_auth: bool = True
    forward_key: bool = False
    allowed_origins: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    scaling: Scaling = field(default_factory=Scaling)
    domain: Domain | None = field(default_factory=Domain)
    links: list[Link] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    cluster_pool: str = "default"
    cluster: str | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    declared_port: Port = field(init=False, repr=False)
    _sticky: ClassVar[bool] = False  # kinds that keep a session in the replica set it
    # the least roles of keys, for what reads (GET, HEAD) and for all else
    _roles: ClassVar[tuple[Role, Role]] = ("invoke", "invoke")
    # of a Ray Serve application: its deployments beside the ingress one, and what that one asks for
    _parts: Sequence[Mapping[str, Any]] = field(default=(), init=False)
    _hardware: Mapping[str, Any] = field(default_factory=dict, init=False)
    _server: Callable[..., Any] | None = field(default=None, init=False)
    _on_startup: Callable[..., Any] | None = field(default=None, init=False)
    _on_shutdown: Callable[..., Any] | None = field(default=None, init=False)
    _on_update: Callable[..., Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._expect("type", str | None, "a str")
        self._expect("requires_auth", bool, "a bool")
        self._expect("forward_key", bool, "a bool")
        self.allowed_origins = origins(self._words(), self.allowed_origins)
        self._expect("limits", Limits, "a Limits")
        self._expect("scaling", Scaling, "a Scaling")
        self._expect("domain", Domain | None, "a Domain")
        self._expect("timeouts", Timeouts, "a Timeouts")
        if not isinstance(self.links, (list, tuple)) or not all(
            isinstance(link, Link) for link in self.links
        ):
            raise TypeError(f"{self._words()}: links must be a list of Link, got {self.links!r}.")
        self.links = list(self.links)
        self._check_clusters()
        self._check_parameters()
        self._check_words()

    def _check_clusters(self) -> None:
        if self.cluster is not None and self.cluster_pool != "default":
            raise ValueError(f"{self._words()}: say cluster or cluster_pool, not both.")
        for option, unset in (("cluster_pool", "default"), ("cluster", None)):
            if getattr(self, option) != unset:
                without_meaning(self._words(), option)

    def _check_words(self) -> None:
        for field_name in ("args", "command"):
            check_words(self._words(), field_name, getattr(self, field_name))
        AppEnvironment.words(self)  # refuses what can't be one
        command = split_words(self._words(), self.command)
        if command and self.parameters and command[0] != LAUNCHER:
            raise ValueError(
                f"{self._words()} has parameters beside a command, which does not take them: "
                "use args=... or @env.server."
            )

    def _check_name(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"An app's name must be a str, got {self.name!r}.")
        if not APP_NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name for an app: "
                "use lower-case letters, digits and -, with a letter or digit at both ends."
            )

    def _check_parameters(self) -> None:
        self._expect("parameters", list | tuple, "a list")
        self.parameters = list(self.parameters)
        seen = set()
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(
                    f"{self._words()}: parameters must hold Parameter objects, got {parameter!r}."
                )
            if parameter.name in seen:
                raise ValueError(f"{self._words()} has two parameters named {parameter.name!r}.")
            seen.add(parameter.name)

    def server(self, func: F) -> F:
        """Make a function the server: sync or async, it serves on the port until it is stopped.

        Its arguments are bound by name from the parameters. Registering another one replaces it.
        """
        return self._register("server", func)

    def on_startup(self, func: F) -> F:
        """Run a function before the server starts; its arguments are bound as in :meth:`server`."""
        return self._register("on_startup", func)

    def on_shutdown(self, func: F) -> F:
        """Run a function after the server has stopped, in every replica that goes; arguments as in :meth:`server`."""
        return self._register("on_shutdown", func)

    def on_update(self, func: F) -> F:
        """Run a function when a parameter with ``RunOutput(..., follow=True)`` has a new value.

        It is called with the new values by name, as in :meth:`server`, before anything else sees them. When it
        raises, the old values stay; the refusal is shown in the app's status.
        """
        return self._register("on_update", func)

    def _register(self, hook: str, func: F) -> F:
        if not callable(func):
            raise TypeError(f"@env.{hook} decorates a function, got {func!r}.")
        setattr(self, f"_{hook}", func)
        return func

    def given(self, **values: Any) -> AbstractContextManager[None]:
        """Test it in this process: while the block lasts, :func:`get_parameter` returns these values here.

        Nothing is served: call its functions, or its ASGI application through a test client. Texts that parameters
        declare are there as well, and so are their environment variables.

        Args:
            values: Of any type, by the names of parameters; outputs of tasks and stand-ins for them.

        Raises:
            ValueError: It has no parameter of such a name.
        """
        return given(self.parameters, values)

    def words(self) -> list[str]:
        """The program to run and its arguments, before ``$VAR`` is replaced: ``command``, or else ``args``."""
        owner = self._words()
        return program(owner, split_words(owner, self.command) or split_words(owner, self.args))

    @property
    def kind(self) -> Literal["asgi", "function", "command", "serve"]:
        """The host of a replica.

        Raises:
            ValueError: There is nothing to run.
        """
        if self._server is not None:
            return "function"
        if self.words():
            return "command"
        raise ValueError(
            f"{self._words()} has nothing to run: decorate a function with @env.server, give it a command or "
            "args, or use a ready-made kind such as flyteray.app.extras.FastAPIAppEnvironment."
        )

    def clone_with(self, name: str, *values: Any, **changes: Any) -> Self:
        """As of any environment; the clone declares the same port, also where a replica makes it."""
        port = {"port": self.declared_port} if changes.get("port") is None else {}
        return super().clone_with(name, *values, **changes | port)

    def container_args(self, serialize_context: SerializationContext) -> list[str]:
        """``args`` as words, for Flyte's backend; Ray has no use for them."""
        return split_words(self._words(), self.args)

    def container_cmd(
        self, serialize_context: SerializationContext, parameter_overrides: list[Parameter] | None = None
    ) -> list[str]:
        """The command that starts it in a container of Flyte's backend: its own, or else Flyte's launcher.

        Args:
            serialize_context: Which version of which project is started, and its code.
            parameter_overrides: Parameters in place of those declared.

        Raises:
            ValueError: A parameter has no value.
        """
        if self.command is not None:
            return split_words(self._words(), self.command)
        from flyteray.app.container import launcher_words  # deferred: only Flyte's backend needs it

        return launcher_words(serialize_context, parameter_overrides or self.parameters)

    def get_port(self) -> Port:
        """The port to listen on: in a replica the one it must use, elsewhere the declared one."""
        return self.port

    @property
    def endpoint(self) -> str:
        """The URL of the app, usable from the driver, tasks and other apps.

        That of the app in local mode where this process knows one or is in local mode itself; else that on the cluster,
        to which this connects after :func:`flyteray.init`.

        Raises:
            InitializationError: No cluster runs, or this process has had nothing to do with one.
        """
        local = local_endpoints().find(self.name)
        if local is not None:
            return local
        if task_context().mode == "local" or ctx().mode == "local":
            return f"http://localhost:{self.declared_port.port}"
        url = this_process().cluster.endpoint(self.name)
        if url is None:
            raise InitializationError(
                "InitializationError",
                "user",
                f"The endpoint of {self._words()} is not known: serve it, or call flyteray.init() where it is served "
                "already.",
            )
        return url
