"""The engine is HAProxy as it runs in a directory, with what reloads have left behind: asked, told, and reloaded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flyteray._ingress.changes import changes
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.runtime import CommandRefusedError, Conversation
from flyteray._ingress.haproxy.supervisor import LOG_FILE
from flyteray._ingress.predecessors import Predecessors
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.tls.offered import Offered
from flyteray._plan.traffic.load import Open
from flyteray.errors import RuntimeSystemError

T = TypeVar("T")

_PATIENCE_S = 10.0


@dataclass
class _Beginning:
    """A process begins in the place of another one: it has read a state from the files, None once it is told more."""

    replaced: int
    read: IngressState | None


class Engine:
    """The HAProxy of a directory. Questions and commands wait for one that is restarting.

    Each of them raises RuntimeSystemError where HAProxy can't be reached for long, or refuses.

    Attributes:
        backends: How many there are, since :meth:`look`.
    """

    def __init__(self, directory: Path) -> None:
        self.backends = 0
        self.is_given_up = False
        self._directory = directory
        self._predecessors = Predecessors(directory)
        self._done: tuple[int, IngressState] | None = None  # HAProxy's process and what it was told last
        self._beginning: _Beginning | None = None  # from a reload until all is told
        self._ever: dict[int, dict[int, int]] = {}  # what each process of HAProxy has had, by backend
        self._counting = threading.Lock()

    def give_up(self) -> None:
        """Wait for HAProxy no more: it is being ended."""
        self.is_given_up = True

    def look(self) -> int:
        """How many backends it has: it has read its files."""
        self.backends = self._insist(Conversation.backends)
        return self.backends

    def reload(self, read: IngressState) -> None:
        """Have it read its files anew, which hold a state; what is open goes on in the process that was there before.

        The files stay as they are until the next :meth:`lead_to`.
        """
        self._predecessors.expect()
        try:
            self._beginning = _Beginning(self._insist(Conversation.pid), read)
            process.reload(self._directory)
        except BaseException:
            self._beginning = None
            raise
        finally:
            self._predecessors.look()

    def state(self) -> IngressState:
        """What it does."""
        return self._insist(Conversation.state)

    def lead_to(self, state: IngressState) -> bool:
        """Tell it, and its predecessors, what leads to a state; one at a time.

        While there is a reload, that is the process that takes requests. False where it has just begun to, and the one
        that did so before isn't told: that is done once more at the end of the reload, which is near.
        """
        reload_is_over = not self._predecessors.are_expected
        try:
            return self._insist(lambda haproxy: self._lead_to(state, haproxy))
        finally:
            if reload_is_over:
                self._beginning = None

    def tell_of_servers(self, ingress: Slot, command: str) -> None:
        """Tell it a command for each of the servers that stand for the ingress of another node."""
        state = self._done[1] if self._done else IngressState()
        servers = maps.servers_behind(state, ingress)
        self._insist(lambda haproxy: haproxy.tell(command.format(each) for each in servers))

    def show(self, offered: Offered) -> None:
        """Have it show another certificate to clients, and take theirs from other authorities where there are any."""

        def both(haproxy: Conversation) -> None:
            haproxy.put("cert", maps.TLS_FILE, offered.chain.decode())
            if offered.clients:
                haproxy.put("ca-file", maps.TLS_CLIENTS_FILE, offered.clients.decode())

        self._insist(both)

    def traffic(self, backends: list[int]) -> dict[int, tuple[int, int]]:
        """As of the door's."""
        told = self._everywhere(lambda each: each.traffic(backends))
        with self._counting:
            for pid, counted in told.items():
                self._ever.setdefault(pid, {}).update({each: ever for each, (_, ever) in counted.items()})
            return {
                backend: (
                    sum(counted[backend][0] for counted in told.values()),
                    sum(ever.get(backend, 0) for ever in self._ever.values()),
                )
                for backend in backends
            }

    def open(self, backends: list[int]) -> dict[int, Open]:
        """As of the door's."""
        told = self._everywhere(lambda each: each.open(backends)).values()
        return {backend: sum((counted[backend] for counted in told), Open()) for backend in backends}

    def unseen(self) -> int:
        """As of the door's."""
        return sum(self._everywhere(lambda each: each.unseen()).values())

    def awaited(self) -> dict[str, int]:
        """How many bytes have come of each body that is waited for, by the request's number."""
        told = self._everywhere(Conversation.awaited)
        return {request: received for each in told.values() for request, received in each.items()}

    def end(self, requests: Iterable[str]) -> None:
        """End requests by their numbers."""
        numbers = list(requests)
        self._everywhere(lambda each: each.end(numbers))

    def end_requests(self, is_good: Callable[[str], bool]) -> None:
        """End what is open for keys that are not good any more."""
        self._everywhere(lambda each: each.end_requests(is_good))

    def _lead_to(self, state: IngressState, haproxy: Conversation) -> bool:
        pid, done, beginning = haproxy.pid(), self._done, self._beginning
        known = done[1] if done and done[0] == pid else None
        self._done = None
        if beginning is None or beginning.replaced == pid:
            haproxy.tell(changes(known or haproxy.state(), state))
            begins = False
        else:
            if done and done[0] == beginning.replaced:
                self._predecessors.left(*done, self.backends)
            known, beginning.read = known or beginning.read, None
            haproxy.tell([*changes(known or haproxy.state(), state), maps.ALL_IS_TOLD])
            begins = self._predecessors.are_expected
        self._predecessors.lead_to(state)
        self._done = (pid, state)
        return not begins

    def _everywhere(self, question: Callable[[Conversation], T]) -> dict[int, T]:
        """The answers of HAProxy and of its predecessors, by process."""
        return self._insist(
            lambda haproxy: {
                **self._predecessors.ask(lambda _, each: question(each)),
                haproxy.pid(): question(haproxy),
            }
        )

    def _insist(self, act: Callable[[Conversation], T]) -> T:
        """Do it with the HAProxy that runs, or the one that runs after a restart."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                with Conversation(self._directory) as haproxy:
                    return act(haproxy)
            except (OSError, CommandRefusedError) as error:
                if self.is_given_up or time.monotonic() > deadline:
                    raise RuntimeSystemError(
                        "IngressError",
                        f"The ingress in {self._directory} does not do what it is told: {error!r}. "
                        f"{LOG_FILE} there says more.",
                    ) from error
            time.sleep(0.02)
