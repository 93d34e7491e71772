"""An app: a service that stays up behind an HTTP endpoint."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeVar

from flyteray._declare.environment import Environment
from flyteray.app.parameters import Parameter
from flyteray.app.port import Port, PortField
from flyteray.app.scaling import Scaling
from flyteray.errors import InitializationError

ENDPOINT_PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"  # an environment variable, as in Flyte

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(eq=False, repr=False)
class AppEnvironment(Environment):
    """A service and what it runs on; deploy it with :func:`flyteray.serve`.

    Say what to run by ``@env.server``, or use a ready-made kind from :mod:`flyteray.app.extras`. It takes the
    fields of :class:`Environment` as well. A replica without ``Resources(cpu=...)`` reserves no CPU, so that
    two versions fit side by side.

    Args:
        name: Lower-case letters, digits and ``-``, with a letter or digit at both ends. Part of the address.
        depends_on: Environments that are needed by this one; apps among them are deployed with it.
        type: A word for people about the kind of app.
        port: The port that a server function listens on, an int or a :class:`Port`. In a replica this is the
            port to use instead, because two replicas on a node can't share one.
        requires_auth: Enforced only where the ingress listens beyond loopback, which it does not yet.
        scaling: The number of replicas.
        parameters: What the app is given when it starts.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: A bad name, a reserved or impossible port, or two parameters of one name.
    """

    _: KW_ONLY
    type: str | None = None
    port: PortField = PortField(8080)  # noqa: RUF009 # a descriptor, not a value
    requires_auth: bool = True
    scaling: Scaling = field(default_factory=Scaling)
    parameters: list[Parameter] = field(default_factory=list)
    declared_port: Port = field(init=False, repr=False)
    _server: Callable[..., Any] | None = field(default=None, init=False)
    _on_startup: Callable[..., Any] | None = field(default=None, init=False)
    _on_shutdown: Callable[..., Any] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.type is not None and not isinstance(self.type, str):
            raise TypeError(f"{self._words()}: type must be a str, got {self.type!r}.")
        if not isinstance(self.requires_auth, bool):
            raise TypeError(f"{self._words()}: requires_auth must be a bool, got {self.requires_auth!r}.")
        if not isinstance(self.scaling, Scaling):
            raise TypeError(f"{self._words()}: scaling must be a Scaling, got {self.scaling!r}.")
        self._check_parameters()

    def _check_name(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"An app's name must be a str, got {self.name!r}.")
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} is no name for an app: "
                "use lower-case letters, digits and -, with a letter or digit at both ends."
            )

    def _check_parameters(self) -> None:
        if not isinstance(self.parameters, (list, tuple)):
            raise TypeError(f"{self._words()}: parameters must be a list, got {self.parameters!r}.")
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
        self._server = _callable("server", func)
        return func

    def on_startup(self, func: F) -> F:
        """Run a function before the server starts; its arguments are bound as in :meth:`server`."""
        self._on_startup = _callable("on_startup", func)
        return func

    def on_shutdown(self, func: F) -> F:
        """Run a function after the server has stopped; arguments as in :meth:`server`."""
        self._on_shutdown = _callable("on_shutdown", func)
        return func

    @property
    def kind(self) -> Literal["asgi", "function"]:
        """What a replica hosts.

        Raises:
            ValueError: There is nothing to run.
        """
        if self._server is None:
            raise ValueError(
                f"{self._words()} has nothing to run: decorate a function with @env.server, or use a "
                "ready-made kind such as flyteray.app.extras.FastAPIAppEnvironment."
            )
        return "function"

    def get_port(self) -> Port:
        """The port to listen on: in a replica the one it must use, elsewhere the declared one."""
        return self.port

    @property
    def endpoint(self) -> str:
        """The URL of the app, usable from the driver, tasks and other apps.

        Raises:
            InitializationError: Not connected, so that the address is not known.
        """
        pattern = os.environ.get(ENDPOINT_PATTERN)
        if not pattern:
            raise InitializationError(
                f"The endpoint of {self._words()} is not known yet: connect with flyteray.init() first."
            )
        return pattern.replace("{app_fqdn}", self.name)


def _callable(hook: str, func: F) -> F:
    if not callable(func):
        raise TypeError(f"@env.{hook} decorates a function, got {func!r}.")
    return func
