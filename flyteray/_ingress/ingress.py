"""The ingress of a node brings HAProxy to the state that the controller asks for, and keeps it there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from flyteray._cluster import processes
from flyteray._ingress.activator.activator import Activator
from flyteray._ingress.copies.copier import Copier
from flyteray._ingress.differences import Difference
from flyteray._ingress.engine import Engine
from flyteray._ingress.entry.hosts import Hosts
from flyteray._ingress.entry.key_watch import KeyWatch
from flyteray._ingress.entry.pace_watch import PaceWatch
from flyteray._ingress.haproxy import process
from flyteray._ingress.haproxy.files import Files
from flyteray._ingress.haproxy.process import Listening
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.routes import LOOPBACK, IngressState
from flyteray._ingress.seen.seen import Seen
from flyteray._ingress.silence import SilenceWatch
from flyteray._ingress.tls.identity import Identity
from flyteray._ingress.tls.offer import Offer
from flyteray._ingress.trusted_proxies import Trust
from flyteray._ingress.workers import Workers
from flyteray._plan.traffic.load import Open
from flyteray._settings import Tls
from flyteray._traces.asked import Variables, sampling
from flyteray.errors import ClusterError

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
        allowed_hosts: The hosts that are answered to where an app asks for no key, besides this machine's.
        half_closed: Whether a client that closes its side of a connection waits for its answer, rather than has left.
        tls: What clients are shown that come by TLS; None: they come without.
        address: The address by which the cluster knows this node. Unless it is loopback, the ingresses of other nodes
            find this one there once it is :meth:`join`ed with them.
        access_log: Whether an entry of each request is written in the directory.
        traces: The variables of OpenTelemetry by which spans of requests are sent; none: they are not made.
        told_first: Whether clients of a HAProxy that has just been started wait until a state is applied, or hear after
            a while that none was, rather than that there are no such apps.

    Attributes:
        seen: What is seen of its requests.
        offer: What is shown to clients that come by TLS; None where they come without.

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
        allowed_hosts: Sequence[str] = (),
        access_log: bool = False,
        half_closed: bool = False,
        tls: Tls | None = None,
        traces: Variables = (),
        told_first: bool = False,
    ) -> None:
        self._directory = Path(directory).resolve()
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory.chmod(0o700)
        trust = Trust(tuple(trusted_proxies), tuple(trusted_headers))
        hosts = Hosts.of(socket.gethostname(), allowed_hosts)
        sampled = sampling(traces) if traces else None
        self._files = Files(self._directory, trust, hosts, access_log, half_closed, tls, sampled)
        self._watched = os.getppid() if watched is None else watched
        self._address = address
        self._identity = Identity(self._directory, address)
        self._files.peers = self._identity.is_known()
        peers, tls_port = self._identity.peers, tls.port if tls is not None else None
        self._listening = Listening(host, port, self._watched, peers, tls_port)
        self._lasting = threading.Lock()  # of HAProxy's life, which does not wait for what it is told
        self._named = "", IngressState()  # what was applied last, as the whole cluster sees it
        self._workers = Workers(self._directory)

        self._keys = KeyWatch(self._workers.end_requests)
        self._pace = PaceWatch(self._workers.awaited, self._workers.end)
        self._activator = Activator(self._directory)  # before HAProxy, which counts on it
        self._copier = Copier(self._directory)
        try:
            state = self._begin(tls, told_first)
            self._engine = Engine(self._files, self._workers, state)
            self._activator.update(state or IngressState())
            self.seen = Seen(self._directory, state or IngressState(), access_log, traces)
            if self._identity.is_known():
                self._activator.identify()
        except BaseException:
            self._activator.close()
            self._copier.close()
            raise
        self._silence = SilenceWatch(self._engine.avoid, self._engine.end_waiting)
        self._pace.start()
        if self.offer is not None:
            self.offer.watch(self._engine.show)
        threading.Thread(target=self._keep_supervised, name="ingress-keeper", daemon=True).start()

    def _begin(self, tls: Tls | None, told_first: bool) -> IngressState | None:
        """Have a HAProxy, and know what it does; None where it has not been told a state."""
        found = process.running(self._directory)
        stays = found is not None and found.watched == self._watched
        shows_one = found is not None and stays and found.tls_port > 0
        self.offer = Offer(self._directory, tls, shows_one) if tls else None
        state = None
        if not stays:
            if not told_first:
                # What replicas a cluster had says nothing about the next one: their ports may be anybody's.
                state = self._files.last_state().without_replicas()
            self._files.write(state)
        self._listening = self._listening.as_of(process.ensure(self._directory, self._listening))
        if stays and self._files.hold_a_state():
            state = self._workers.serving(Conversation.state).with_told(self._files.last_state())
        return state

    def port(self) -> int:
        return self._listening.port

    def tls_port(self) -> int:
        return self._listening.tls_port or 0

    def found_at(self) -> str:
        host, peers = self._listening.host, self._listening.peers
        address = peers if peers and ipaddress.ip_address(host).is_unspecified else found_at(host)
        return self.offer.host(address) if self.offer is not None else address

    def wish(self, authority: bytes) -> bytes | None:
        return self._identity.wish(authority)

    def join(self, certificate: bytes, authority: bytes) -> None:
        def keep() -> None:
            self._identity.keep(certificate, authority)
            self._files.peers = self._identity.is_known()

        self._engine.reload(keep)
        self._activator.identify()

    def peers_port(self) -> int:
        found = process.running(self._directory) if self._identity.is_known() else None
        return found.peers_port if found is not None else 0

    def apply(self, state: IngressState, name: str = "") -> None:
        """Bring HAProxy to a state; no request is lost. Applying a state again repairs whatever differs.

        A state with a name can be amended.

        Raises:
            RuntimeSystemError: HAProxy can't be reached or refuses. Its files hold the state nevertheless, or will
                when a process of HAProxy's has started that is reading them.
        """
        seen = state.seen_from(self._address)

        def follow() -> None:
            self.seen.update(seen)  # first: who has waited for a backend may have his answer at once
            self._activator.update(seen)
            self._silence.watch(seen.others())
            self._keys.watch(seen.keys)
            self._named = name, state

        self._engine.lead_to(seen, then=follow)

    def silent(self) -> list[str]:
        return sorted({ingress.host for ingress in self._silence.found})

    def amend(self, difference: Difference, of: str, name: str) -> bool:
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
        return self._workers.traffic(backends)

    def open(self, backends: list[int]) -> dict[int, Open]:
        return self._workers.open(backends)

    def unseen(self) -> int:
        return self._workers.unseen()

    def stop(self) -> None:
        """End HAProxy and its supervisor; open connections end with them."""
        with self._lasting:
            self._workers.is_given_up = True
            process.stop(self._directory)
        self._stop_watching()
        self._activator.close()
        self._copier.close()

    def _stop_watching(self) -> None:
        self._silence.stop()
        self.seen.stop()
        self._keys.stop()
        self._pace.stop()
        if self.offer is not None:
            self.offer.stop()

    def _keep_supervised(self) -> None:
        while True:
            process.wait_ended(self._directory)
            with self._lasting:
                if self._workers.is_given_up or not processes.is_alive(self._watched):
                    self._stop_watching()  # what it belongs to has ended, and HAProxy with that
                    self._workers.is_given_up = True
                    return
                try:
                    process.ensure(self._directory, self._listening)
                    continue
                except (ClusterError, OSError, subprocess.SubprocessError) as error:
                    print(
                        f"The ingress's supervisor ended and can't be started again yet: {error!r}",
                        flush=True,
                    )
            time.sleep(1.0)


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
