"""An app is started in one sequence of steps, in the process of a replica and in one beside the caller."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flyteray._cluster.workers import scripts
from flyteray._cluster.workers.code import furnish
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._plan import failure
from flyteray._plan.bundle import references
from flyteray._plan.info import ErrorInfo
from flyteray._plan.spec import AppSpec
from flyteray._serve.health_watch import HealthWatch
from flyteray._serve.log_tail import LogTail
from flyteray._serve.parameters.follow import Follower
from flyteray._serve.parameters.parameters import Outputs, Parameters, Resolver
from flyteray._serve.servers.hosting import Hosting, Server
from flyteray._serve.servers.servers import health_of, loop_for, server_for
from flyteray._serve.startup import CODE, IMAGE, SECRETS, SERVER, Startup
from flyteray._traces.process import tracing
from flyteray.app.scaling import Policy

T = TypeVar("T")

LOOPBACK = "127.0.0.1"  # the ingress of the machine alone reaches a replica


@dataclass(eq=False, repr=False)
class HostedApp:
    """An app in this process, from its secrets to its server.

    ``folder`` becomes the working directory; ``given`` are files with pickled values of parameters, by name. Once it
    is started, ``port`` is where it takes requests.
    """

    spec: AppSpec
    folder: Path
    secrets: ProcessSecrets
    outputs: Outputs
    given: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._start_up = Startup(self.spec.startup_timeout_s)
        self._log = LogTail()
        outputs = self.outputs
        self._resolver = Resolver(self.folder, self.spec.name, outputs.read, outputs.locate, self.given)
        self._parameters: Parameters | None = None
        self._follower: Follower | None = None
        self._on_update: Callable[..., Any] | None = None
        self.hosting: Hosting | None = None
        self.policy: Policy | None = None  # what decides on the number of its replicas
        self.port = 0

    async def deliver_secrets(self) -> None:
        """Put its secrets where its code looks for them; before all else, for its module may want them."""
        await self._start_up.step(SECRETS, self.secrets.deliver)

    async def start(
        self,
        sock: socket.socket,
        bundle: Callable[[str], Path | None],
        python: Callable[[], Path | None],
        *,
        behind_ingress: bool,
        on_exit: Callable[[BaseException | None], object],
        on_blocked: Callable[[bool], None] | None = None,
        on_unwell: Callable[[bool], None] | None = None,
        lag_limit_s: float = 3600.0,
    ) -> Hosting:
        """Load it and start its server on ``sock``.

        ``bundle`` and ``python`` are as in :meth:`load`; ``on_unwell`` is called as of :class:`HealthWatch`; the rest
        is as in :class:`Hosting`.
        """
        spec, step = self.spec, self._start_up.step
        of_image = await step(IMAGE, python)
        app = await self.load(bundle, of_image)
        parameters = self._parameters
        assert parameters is not None
        server = await step(
            SERVER,
            lambda: server_for(spec, app, parameters, sock, behind_ingress=behind_ingress, python=of_image),
        )
        self.policy = app.scaling.policy if _has_policy(spec) else None
        self.hosting = hosting = Hosting(
            server,
            arguments=parameters.arguments,
            on_startup=getattr(app, "_on_startup", None),
            on_shutdown=getattr(app, "_on_shutdown", None),
            loop=loop_for(spec, app),
            start_up=self._start_up,
            on_exit=on_exit,
            on_blocked=on_blocked,
            health=self._health(server, on_unwell),
            lag_limit_s=lag_limit_s,
        )
        await hosting.start()
        self.port = server.port
        return hosting

    async def load(self, bundle: Callable[[str], Path | None], python: Path | None = None) -> Any:
        """Load its code and resolve its parameters; returns its environment.

        ``bundle`` makes its code importable, by its digest; ``python`` is that of a program's image.
        """
        app = await self.load_code(bundle, python)
        self._parameters = await self._start_up.step(
            self._resolver.waits_for, lambda: self._resolver.all(self.spec.parameters)
        )
        self._parameters.publish(self.folder)
        self._on_update = getattr(app, "_on_update", None)
        return app

    async def load_code(self, bundle: Callable[[str], Path | None], python: Path | None = None) -> Any:
        """Load its code, which happens once in a process; the rest is as in :meth:`load`."""
        return await self._start_up.step(CODE, lambda: self._load(bundle, python))

    async def wait(self, missing: str | Callable[[], str], function: Callable[[], T]) -> T:
        """Wait for something else that belongs to its start, as :meth:`Startup.step` does."""
        return await self._start_up.step(missing, function)

    @property
    def runs(self) -> dict[str, str]:
        """The runs whose outputs its parameters took, by parameter."""
        return self._parameters.runs if self._parameters is not None else {}

    def follow(self, tell: Callable[..., None] = lambda **_: None) -> None:
        """Take newer outputs from now on; ``tell`` is as in :class:`Follower`. Only a server's hook is called."""
        assert self._parameters is not None
        hosting, on_update = self.hosting, self._on_update
        self._follower = Follower(
            self.spec.parameters,
            self._parameters,
            self._resolver,
            self.folder,
            newer=self.outputs.newer,
            update=lambda arguments: hosting.update(on_update, arguments) if hosting and on_update else None,
            tell=tell,
        )
        self._follower.start()

    async def stop(self, drain_s: float, at_most_s: float | None = None) -> None:
        """Let open requests end for ``drain_s`` seconds, then stop the server.

        Raises asyncio.TimeoutError after ``at_most_s`` seconds: its loop is blocked, or a hook hangs.
        """
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        if self.hosting is not None:
            await asyncio.wait_for(self.hosting.stop(drain_s), at_most_s)

    def release(self) -> None:
        """Take away its files outside its folder."""
        self.secrets.withdraw()
        if self._parameters is not None:
            self._parameters.release()

    def failure(self, error: BaseException) -> ErrorInfo:
        """Describe an error that it failed with, with the end of its own log."""
        return failure.describe(error).model_copy(update={"log": self._log.tail()})

    def _health(self, server: Server, on_unwell: Callable[[bool], None] | None) -> HealthWatch | None:
        """The watch over a server that has a way to say that it is not well: that of gRPC."""
        if self.spec.protocol != "h2c":
            return None
        ask = health_of(self.spec)
        return HealthWatch(lambda: ask(LOOPBACK, server.port), on_unwell)

    def _load(self, bundle: Callable[[str], Path | None], python: Path | None) -> Any:
        spec, ref = self.spec, self.spec.code
        shipped = bundle(ref.bundle)
        if shipped is not None:
            furnish(self.folder, shipped)
        os.chdir(self.folder)
        scripts.prepare(ref.module, shipped)
        if spec.kind == "command" and not spec.hooks and not _has_policy(spec):
            return None  # the program's image alone may have what its module imports
        if python is not None:
            _lend_packages(python)
        app = references.load(ref, shipped)
        tracing().begin(spec.name)
        return app


def _has_policy(spec: AppSpec) -> bool:
    return spec.scaling is not None and spec.scaling.by == "policy"


def _lend_packages(python: Path) -> None:
    """Let this process find packages of a program's image, behind the cluster's own of the same name."""
    name = f"lib*/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    sys.path += [str(site) for site in python.parent.parent.glob(name) if str(site) not in sys.path]
