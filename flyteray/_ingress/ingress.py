"""The ingress of a node brings HAProxy to the state that the controller asks for, and keeps it there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from flyteray._cluster import processes
from flyteray._ingress.activator import Activator
from flyteray._ingress.changes import changes
from flyteray._ingress.differences import Difference
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.files import Files
from flyteray._ingress.haproxy.runtime import CommandRefusedError, Conversation
from flyteray._ingress.haproxy.supervisor import LOG_FILE
from flyteray._ingress.identity import Identity
from flyteray._ingress.predecessors import Predecessors
from flyteray._ingress.routes import LOOPBACK, MOST, IngressState, Slot, pool
from flyteray._ingress.silence import SilenceWatch
from flyteray._ingress.trusted_proxies import Trust
from flyteray.errors import BaseRuntimeError, ClusterError, RuntimeSystemError

T = TypeVar("T")

_PATIENCE_S = 10.0
_FULL = 0.75  # of the backends are in use: it is time for more
# Kept for documentation, so that they are on the way out of every network; nothing is sent there.
_FAR = {socket.AF_INET: "198.51.100.1", socket.AF_INET6: "2001:db8::1"}


class Ingress:
    """Serves apps over HTTP on one node, without Ray; answers as :class:`~flyteray._ingress.door.IngressDoor` says.

    HAProxy runs outside this object's process and goes on serving when that dies; the next object for the same
    directory finds it and carries on.

    Args:
        directory: For HAProxy's files and sockets; made readable for the user alone.
        host: The address to listen on.
        port: The port; 0 for the one that was used in this directory before, or a free one.
        trusted_proxies: Networks whose word on a request's client counts; see :class:`~flyteray._settings.Settings`.
        trusted_headers: What else passes from them.
        watched: The process with which HAProxy ends; the parent unless given, which for a Ray worker is the raylet.
        address: The address by which the cluster knows this node. Unless it is loopback, the ingresses of other nodes
            find this one there once it is :meth:`join`ed with them.

    Raises:
        ClusterError: the port is taken, or HAProxy is missing or refuses to start.
    """

    def __init__(
        self,
        directory: str | Path,
        host: str = "127.0.0.1",
        port: int = 0,
        trusted_proxies: Sequence[str] = (),
        trusted_headers: Sequence[str] = (),
        watched: int | None = None,
        address: str = LOOPBACK,
    ) -> None:
        self._directory = Path(directory).resolve()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        self._host = host
        self._files = Files(self._directory, Trust(tuple(trusted_proxies), tuple(trusted_headers)))
        self._watched = os.getppid() if watched is None else watched
        self._address = address
        self._identity = Identity(self._directory, address)
        self._reloading = threading.Lock()  # taken before the other one
        self._lock = threading.Lock()
        self._stopped = False
        self._asked = IngressState()
        self._named = "", IngressState()  # what was applied last, as the whole cluster sees it
        self._done: tuple[int, IngressState] | None = None  # HAProxy's process and what it was told last
        self._predecessors = Predecessors(self._directory)
        self._ever: dict[int, dict[int, int]] = {}  # what each process of HAProxy has had, by backend

        self._silence = SilenceWatch(self._avoid, self._end_waiting_for)
        self._activator = Activator(self._directory)  # before HAProxy, which counts on it
        found = process.running(self._directory)
        if found is None or found.watched != self._watched:
            # What replicas a cluster had says nothing about the next one: their ports may be anybody's.
            self._write(self._files.last_state().without_replicas())
        try:
            self._port = process.ensure(self._directory, host, port, self._watched, self._identity.peers).port
            last = self._files.last_state()
            self._backends = self._insist(Conversation.backends)
            self._files.backends = max(self._files.backends, self._backends)
            self._activator.update(self._insist(lambda haproxy: haproxy.state().with_told(last)))
            if self._identity.is_known():
                self._activator.identify()
        except BaseException:
            self._activator.close()
            raise
        threading.Thread(target=self._keep_supervised, name="ingress-keeper", daemon=True).start()

    def port(self) -> int:
        return self._port

    def found_at(self) -> str:
        if self._identity.peers is not None and ipaddress.ip_address(self._host).is_unspecified:
            return self._identity.peers
        return found_at(self._host)

    def wish(self, authority: bytes) -> bytes | None:
        return self._identity.wish(authority)

    def join(self, certificate: bytes, authority: bytes) -> None:
        with self._reloading, self._lock:
            self._identity.keep(certificate, authority)
            known = self._insist(lambda haproxy: haproxy.state()).with_told(self._files.last_state())
            self._write(known)
            self._reload()
            self._reloaded()
            self._activator.identify()

    def peers_port(self) -> int:
        found = process.running(self._directory) if self._identity.is_known() else None
        return found.peers_port if found is not None else 0

    def apply(self, state: IngressState, name: str = "") -> None:
        """Bring HAProxy to a state; no request is lost. Applying a state again repairs whatever differs.

        A state with a name can be amended.

        Raises:
            RuntimeSystemError: HAProxy can't be reached or refuses. Its files hold the state nevertheless.
        """
        seen = state.seen_from(self._address)
        needs = seen.needs()
        with self._lock:
            self._asked = seen
        if needs > self._backends:
            self._grow(pool(int(needs / _FULL) + 1))
        with self._lock:
            self._write(seen)
            self._insist(lambda haproxy: self._lead_to(seen, haproxy))
            self._activator.update(seen)
            self._silence.watch(seen.others())
            self._named = name, state
        if needs > self._backends * _FULL and self._backends < MOST and not self._reloading.locked():
            # ahead of who needs it: a reload may take a second
            growing = threading.Thread(target=self._grow_ahead, args=(2 * self._backends,), daemon=True)
            growing.start()

    def silent(self) -> list[str]:
        return sorted({ingress.host for ingress in self._silence.found})

    def amend(self, difference: Difference, of: str, name: str) -> bool:
        with self._lock:
            known, state = self._named
        if not of or known != of:
            return False
        self.apply(difference.applied_to(state), name)
        return True

    async def need(self, timeout_s: float) -> bool:
        return await self._activator.need(timeout_s)

    def sessions(self, backends: list[int]) -> dict[int, int]:
        return {backend: now for backend, (now, _) in self.traffic(backends).items()}

    def traffic(self, backends: list[int]) -> dict[int, tuple[int, int]]:
        told = self._insist(
            lambda haproxy: {
                **self._predecessors.ask(lambda _, each: each.traffic(backends)),
                haproxy.pid(): haproxy.traffic(backends),
            }
        )
        with self._lock:
            for pid, counted in told.items():
                self._ever.setdefault(pid, {}).update({each: ever for each, (_, ever) in counted.items()})
            return {
                backend: (
                    sum(counted[backend][0] for counted in told.values()),
                    sum(ever.get(backend, 0) for ever in self._ever.values()),
                )
                for backend in backends
            }

    def stop(self) -> None:
        """End HAProxy and its supervisor; open connections end with them."""
        with self._lock:
            self._stopped = True
            process.stop(self._directory)
        self._silence.stop()
        self._activator.close()

    def _avoid(self, ingress: Slot) -> None:
        """Send a node nothing more that may have become silent; HAProxy's checks find it when it is back."""
        self._tell_of_servers(ingress, "set server {} health down")

    def _end_waiting_for(self, ingress: Slot) -> None:
        """End the requests that wait for a silent node: HAProxy sends them elsewhere, or says so.

        It says nothing to whose connection to the node is still being made: :meth:`_avoid` comes first.
        """
        self._tell_of_servers(ingress, "shutdown sessions server {}")

    def _tell_of_servers(self, ingress: Slot, command: str) -> None:
        with self._lock:
            state = self._done[1] if self._done else IngressState()
            servers = maps.servers_behind(state, ingress)
            self._insist(lambda haproxy: haproxy.tell(command.format(each) for each in servers))

    def _lead_to(self, state: IngressState, haproxy: Conversation) -> None:
        pid = haproxy.pid()
        known = self._done[1] if self._done and self._done[0] == pid else haproxy.state()
        self._done = None
        haproxy.tell(changes(known, state))
        self._predecessors.lead_to(state)
        self._done = (pid, state)

    def _grow(self, backends: int) -> None:
        """Have so many backends; what is asked meanwhile goes on, and so does what is open."""
        with self._reloading:
            if backends <= self._backends:
                return
            with self._lock:
                self._files.backends = max(self._files.backends, backends)
                self._write(self._asked)
            try:
                self._reload()
            finally:
                with self._lock:
                    self._reloaded()
                    # It may have been told of a change before it had read the files, or while it did.
                    self._insist(lambda haproxy: self._lead_to(self._asked, haproxy))

    def _grow_ahead(self, backends: int) -> None:
        try:
            self._grow(backends)
        except (BaseRuntimeError, OSError) as error:
            print(f"The ingress can't have {backends} backends yet: {error!r}", flush=True)

    def _reload(self) -> None:
        self._predecessors.expect()
        try:
            process.reload(self._directory)
        finally:
            self._predecessors.look()

    def _reloaded(self) -> None:
        self._done = None
        self._backends = self._insist(Conversation.backends)

    def _insist(self, act: Callable[[Conversation], T]) -> T:
        """Do it with the HAProxy that runs, or the one that runs after a restart."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with Conversation(self._directory) as haproxy:
                    return act(haproxy)
            except (OSError, CommandRefusedError) as error:
                if self._stopped or time.monotonic() > deadline:
                    raise RuntimeSystemError(
                        "IngressError",
                        f"The ingress in {self._directory} does not do what it is told: {error!r}. "
                        f"{LOG_FILE} there says more.",
                    ) from error
            time.sleep(0.02)

    def _keep_supervised(self) -> None:
        while True:
            process.wait_ended(self._directory)
            with self._lock:
                if self._stopped or not processes.is_alive(self._watched):
                    return
                try:
                    process.ensure(
                        self._directory, self._host, self._port, self._watched, self._identity.peers
                    )
                    continue
                except (ClusterError, OSError, subprocess.SubprocessError) as error:
                    print(
                        f"The ingress's supervisor ended and can't be started again yet: {error!r}",
                        flush=True,
                    )
            time.sleep(1.0)

    def _write(self, state: IngressState) -> None:
        self._files.write(state, peers=self._identity.is_known())


def found_at(host: str) -> str:
    """The address to give to clients of what listens on ``host``: ``0.0.0.0`` and ``::`` stand for all, so it is that
    from which this machine reaches others, or of the machine itself where it reaches none.
    """
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    # What listens on :: takes IPv4 as well.
    families = [socket.AF_INET] if address.version == 4 else [socket.AF_INET6, socket.AF_INET]
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR[family], 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"
