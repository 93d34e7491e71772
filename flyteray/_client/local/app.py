"""An app in local mode is a process beside this one, steered by its handle."""

from __future__ import annotations

import asyncio
import errno
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flyteray import _private
from flyteray._client.apps.handle import Awaited, BaseHandle, LogQuery, last_lines, start_error
from flyteray._client.bridge import MethodVerb
from flyteray._client.local.process import LocalProcess
from flyteray._machine.grpc_health import ask_grpc_health
from flyteray._machine.health import ask_health
from flyteray._machine.ports import holder
from flyteray._plan.info import AppPhase, ErrorInfo
from flyteray._plan.spec import LocalPlan
from flyteray.app.endpoints import local_endpoints
from flyteray.errors import ActivationTimeoutError, DeploymentError

_LOOK_S = 0.02  # how often a process that starts or stops is looked at
_DRAIN_SHARE = 0.7  # of the time to stop in is for open requests; the rest is for on_shutdown
_HEAR_S = 15.0  # for a process to say why it was not ready in time
_ENDED_S = 2.0  # for what is killed to be gone
_TAIL = 30  # lines
_READ_S = 0.1  # how often its log is read while it is shown


@dataclass(frozen=True)
class Patience:
    """How long to wait for a local app, in seconds, and how to ask it whether it is well."""

    activate_timeout: float = 60.0
    deactivate_timeout: float = 6.0
    health_check_timeout: float = 2.0
    health_check_interval: float = 1.0

    @property
    def drain_s(self) -> float:
        """How long open requests may go on when the app is stopped."""
        return self.deactivate_timeout * _DRAIN_SHARE


class LocalApp(BaseHandle):
    """An app that runs in a process of its own, as a child of this process, which it does not outlive.

    Args:
        python: This process's own, or that of its image.
        patience: May be set while it runs.
        revision: Counts the versions of the app that this process has served.
    """

    def __init__(
        self, plan: LocalPlan, python: Path, environment: dict[str, str], patience: Patience, revision: int
    ) -> None:
        self.plan = plan
        self.name = plan.app.name
        # The declared port, or a free one for port 0.
        self.url = self.endpoint = f"http://localhost:{plan.port}"
        self.patience = patience
        self.revision = revision
        self.desired_state: Literal["active", "stopped"] = "stopped"
        self._python = python
        self._environment = environment
        self._log = Path(plan.shared, f"{self.name}.log")
        self._process: LocalProcess | None = None
        self._lock = threading.Lock()

    @property
    def deployment_status(self) -> AppPhase:
        """The phase that is observed now; failed is an app that has ended without having been asked to."""
        if self.is_deactivated():
            return AppPhase.FAILED if self.has_failed else AppPhase.STOPPED
        return AppPhase.ACTIVE if self._is_ready() and self._answers() else AppPhase.DEPLOYING

    status = deployment_status

    @property
    def has_failed(self) -> bool:
        """Whether it has ended without having been asked to."""
        return self.desired_state == "active" and self.is_deactivated()

    def is_active(self) -> bool:
        """Whether it takes requests: it is up and answers its health path with anything below 500."""
        return self.deployment_status is AppPhase.ACTIVE

    def is_deactivated(self) -> bool:
        """Whether nothing of it runs."""
        return self._process is None or not self._process.running

    @MethodVerb
    async def activate(self, wait: bool = False) -> LocalApp:
        """Start it where it does not run, and :meth:`wait` for it on request.

        Raises:
            DeploymentError: something else listens on its port.
        """
        await asyncio.to_thread(self._start)
        return await self.wait.aio() if wait else self

    @MethodVerb
    async def deactivate(self, wait: bool = False) -> LocalApp:
        """Stop it: open requests may end, ``on_shutdown`` runs; what then still runs is killed.

        With ``wait`` it returns when nothing of the app is left.
        """
        self.stop()
        if wait:
            await self.watch.aio("deactivated")
        return self

    @MethodVerb
    async def wait(self, timeout: float | None = None) -> LocalApp:
        """Wait until it takes requests, for ``activate_timeout`` seconds where no ``timeout`` is given.

        Raises:
            DeploymentError: it could not start or has ended (the user's exception is the cause), or was stopped.
            ActivationTimeoutError: the time is up, and it is stopped.
        """
        timeout = self.patience.activate_timeout if timeout is None else timeout
        # After its own activate_timeout the process gives up itself, and says what it waited for.
        hear_s = _HEAR_S if timeout >= self.patience.activate_timeout else 0
        deadline = time.monotonic() + timeout + hear_s
        while not await asyncio.to_thread(self._has_come_up):
            if time.monotonic() > deadline:
                self.stop()
                raise ActivationTimeoutError(
                    f"App {self.name!r} failed to become active within {timeout:g} seconds.{self._tail()}"
                )
            left = max(0.0, deadline - time.monotonic())
            ready = self._is_ready()
            await asyncio.sleep(min(left, self.patience.health_check_interval if ready else _LOOK_S))
        return self

    @MethodVerb
    async def watch(self, wait_for: Awaited = "activated") -> LocalApp:
        """Wait until it takes requests (``"activated"``, errors as of :meth:`wait`) or has ended: ``"deactivated"``."""
        if self._waits_until_active(wait_for):
            return await self.wait.aio()
        while not self.is_deactivated():  # noqa: ASYNC110  # a process tells no event loop of its end
            await asyncio.sleep(_LOOK_S)
        return self

    async def _lines(self, query: LogQuery) -> AsyncIterator[str]:
        if query.replica_name:
            raise ValueError(
                f"App {self.name!r} runs in local mode, where replicas have no names: leave it out."
            )
        with self._log.open("rb") as file:
            there = deque(file, maxlen=query.max_lines)
            rest = b""
            while True:
                ended = self.is_deactivated()
                *whole, rest = b"".join([*there, rest, file.read()]).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
                if ended or not query.follow:
                    if rest:
                        yield rest.decode(errors="replace")
                    return
                there.clear()
                await asyncio.sleep(_READ_S)

    def stop(self) -> None:
        """Ask it to end, without waiting."""
        with self._lock:
            self.desired_state = "stopped"
            if self._process is not None and self._process.running:
                local_endpoints().remove(self.name)
                self._process.stop(self.patience.deactivate_timeout)

    def join(self) -> None:
        """Block until nothing of a stopped app is left."""
        if self._process is not None:
            self._process.join(self.patience.deactivate_timeout + _ENDED_S)

    def _start(self) -> None:
        with self._lock:
            if not self.is_deactivated():
                if self.desired_state == "active":
                    return
                self.join()  # it is being stopped
            folder = Path(self.plan.folder)
            shutil.rmtree(folder, ignore_errors=True)
            _private.folder(folder)
            _check_free(self.name, self.plan.port)
            plan = folder / "plan.json"
            _private.write(plan, self.plan.model_dump_json())
            self._process = LocalProcess(
                [str(self._python), "-m", "flyteray._serve.local_replica", str(plan)],
                self._environment,
                folder=folder,
                log=self._log,
                grace_s=self.patience.deactivate_timeout,
                on_end=lambda: local_endpoints().remove(self.name),
            )
            self.desired_state = "active"
            local_endpoints().put(self.name, self.url)
            self._process.start()

    def _is_ready(self) -> bool:
        return Path(self.plan.folder, LocalPlan.READY).exists()

    def _has_come_up(self) -> bool:
        process = self._process
        if self.desired_state == "stopped" or process is None:
            raise DeploymentError(f"App {self.name!r} was stopped while it was waited for.")
        if not process.running or Path(self.plan.folder, LocalPlan.ERROR).exists():
            raise self._failure(process)
        return self._is_ready() and self._answers()

    def _answers(self) -> bool:
        plan = self.plan
        timeout_s = self.patience.health_check_timeout
        if plan.app.protocol == "h2c":
            return ask_grpc_health(plan.host, plan.port, timeout_s).is_good
        health = ask_health(plan.host, plan.port, plan.app.health_path, timeout_s)
        return health.is_good or not health.speaks_http

    def _failure(self, process: LocalProcess) -> DeploymentError:
        try:
            info = ErrorInfo.model_validate_json(Path(self.plan.folder, LocalPlan.ERROR).read_bytes())
        except OSError:
            return DeploymentError(
                f"App {self.name!r} could not start: its process {process.exit}.{self._tail()}"
            )
        return start_error(self.name, info, last_lines(info.log) or self._tail())

    def _tail(self) -> str:
        try:
            with self._log.open(errors="replace") as file:
                return last_lines("".join(deque(file, maxlen=_TAIL)))
        except OSError:
            return ""

    def __repr__(self) -> str:
        return f"LocalApp(name={self.name!r}, url={self.url!r}, desired_state={self.desired_state!r})"


def _check_free(app: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            taken = holder(port) if error.errno == errno.EADDRINUSE else None
            why = f"{error.strerror}, by {taken}" if taken else error.strerror
            raise DeploymentError(
                f"App {app!r} can't listen on port {port}: {why}. End what uses the port, or declare another one; "
                "port=0 takes any that is free."
            ) from None
