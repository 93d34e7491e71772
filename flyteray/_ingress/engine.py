"""The engine is HAProxy as it runs in a directory: its files and its workers are led to one state after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

from flyteray._ingress.changes import changes
from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.files import Files
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.routes import MOST, IngressState, Slot, pool
from flyteray._ingress.tls.offered import Offered
from flyteray._ingress.workers import Workers
from flyteray.errors import BaseRuntimeError

_FULL = 0.75  # of the backends are in use: it is time for more
_NOTHING = IngressState()


@dataclass(frozen=True)
class _Told:
    """What a worker that has so many backends was led to."""

    state: IngressState
    backends: int


class Engine:
    """The HAProxy of a directory. The state that it goes by is in its files, and its workers are told what changes.

    A worker that begins has read the files, and its requests wait until it is told what they do not say: what has
    changed during the reload, or all, where there is no state yet. One that is leaving is told what it can still do, as
    its servers stay what they were. While there is a reload, the files do not change and those that are leaving can't
    be told; at its end that is done.

    Each method raises RuntimeSystemError where HAProxy can't be reached for long, or refuses.

    Args:
        files: What HAProxy reads.
        workers: Its processes.
        state: What it goes by; None where it has not been told anything yet.

    Attributes:
        backends: How many there are.
    """

    def __init__(self, files: Files, workers: Workers, state: IngressState | None) -> None:
        self._files = files
        self._workers = workers
        self._reloading = threading.Lock()  # taken before the other one
        self._lock = threading.Lock()
        self._asked = state  # it may wait for more backends
        self._state = state  # that in which all is, or will be at the end of the reload
        self._told: dict[int, _Told | None] = {}  # what each worker does; None: nobody knows
        self._read: IngressState | None = None  # during a reload: what a worker that begins does
        self._avoided: frozenset[Slot] = frozenset()
        self.backends = workers.serving(Conversation.backends)
        files.backends = max(files.backends, self.backends)

    def lead_to(self, state: IngressState, then: Callable[[], None]) -> None:
        """Lead it to a state, unless another one is asked for while this one waits for more backends.

        ``then`` is called when the state is that of requests, before another one is.
        """
        self._asked = state
        if state.needs() > self.backends:
            self._grow(pool(int(state.needs() / _FULL) + 1), state)
        with self._lock:
            if self._asked is not state:
                return
            self._state = state
            if self._read is None:
                self._files.write(state)
            all_know = self._tell(is_over=self._read is None)
            then()
        if not all_know:
            with self._reloading:
                pass
        self._grow_ahead(state)

    def reload(self, change: Callable[[], None]) -> None:
        """Have a new worker begin after a change of the files; what is open goes on, and so does what is asked."""
        with self._reloading:
            self._reload(change, self._state)

    def show(self, offered: Offered, keep: Callable[[], None]) -> None:
        """Have it show another certificate to clients, and take theirs from other authorities where there are any.

        ``keep`` puts both where a worker that begins reads them.
        """

        def both(worker: Conversation) -> int:
            worker.put("cert", maps.TLS_FILE, offered.chain.decode())
            if offered.clients:
                worker.put("ca-file", maps.TLS_CLIENTS_FILE, offered.clients.decode())
            return worker.pid()

        with self._reloading:  # or one may have read them already that is told nothing
            shows = self._workers.serving(both)
            keep()
            if self._workers.serving(Conversation.pid) != shows:
                self._workers.serving(both)

    def avoid(self, ingresses: Collection[Slot]) -> None:
        """Send nothing more to these ingresses of other nodes, until HAProxy finds that they answer its checks.

        To be called again for as long as they are to be avoided: another worker may have begun.
        """
        with self._lock:
            more, self._avoided = set(ingresses) - self._avoided, frozenset(ingresses)
            try:
                self._workers.serving(lambda worker: self._avoid(worker, more))
            except BaseException:
                self._avoided -= more
                raise

    def end_waiting(self, ingress: Slot) -> None:
        """End what waits for the ingress of another node: HAProxy sends it elsewhere, or says so.

        It says nothing to whose connection is still being made: that one is to be avoided for a while first.
        """

        def end(worker: Conversation) -> int:
            servers = maps.servers_behind(self._state or _NOTHING, ingress)
            worker.tell(f"shutdown sessions server {each}" for each in servers)
            return worker.pid()

        with self._lock:
            serving = self._workers.serving(end)
        self._workers.leaving(lambda _, worker: worker.end_at(ingress), besides=serving)

    def _grow(self, backends: int, asked: IngressState | None) -> None:
        """Have so many backends; a worker begins with the state that is asked for."""

        def more() -> None:
            self._files.backends = max(self._files.backends, backends)

        with self._reloading:
            if backends > self.backends:
                self._reload(more, asked)

    def _grow_ahead(self, state: IngressState) -> None:
        """Have more backends before there is one who needs them, as a reload may take a second."""
        backends = 2 * self.backends

        def grow() -> None:
            try:
                self._grow(backends, self._state)
            except (BaseRuntimeError, OSError) as error:
                print(f"The ingress can't have {backends} backends yet: {error!r}", flush=True)

        is_full = state.needs() > self.backends * _FULL and self.backends < MOST
        if is_full and not self._reloading.locked():
            threading.Thread(target=grow, daemon=True).start()

    def _reload(self, change: Callable[[], None], asked: IngressState | None) -> None:
        """Have a worker begin, with the state that is asked for if nothing newer is; one at a time."""
        with self._lock:
            change()
            before = self._state
            read = asked if asked is self._asked else before
            self._files.write(read, is_all=False)
            self._told.setdefault(self._workers.serving(Conversation.pid), None)  # has read something else
            self._read = read or _NOTHING
        try:
            self._workers.reload()
        finally:
            with self._lock:
                try:
                    self.backends = self._workers.serving(Conversation.backends)
                    if self._state is before and read is not None and read.needs() <= self.backends:
                        self._state = read
                    self._tell(is_over=True)
                finally:
                    self._read = None
                    self._files.write(self._state)

    def _tell(self, is_over: bool) -> bool:
        """Have the workers know the state; those that are leaving later where no reload ``is_over``: then False."""
        state = self._state
        if state is None:
            return True
        serving = self._workers.serving(lambda worker: self._lead(worker, state))
        if not is_over:
            return not self._workers.are_leaving(besides=serving)
        left = self._workers.leaving(
            lambda pid, worker: self._lead_leaving(pid, worker, state), besides=serving
        )
        self._told = {pid: self._told[pid] for pid in (serving, *left)}
        return True

    def _lead(self, worker: Conversation, state: IngressState) -> int:
        pid = worker.pid()
        told = self._told.get(pid)
        if told is not None:
            before, last = told.state, []
        else:
            read = self._read if pid not in self._told else None
            before, last = read or worker.state(), [maps.ALL_IS_TOLD]
        self._told[pid] = None
        known = told.state if told is not None else _NOTHING
        worker.tell([*changes(before, state), *_down(self._avoided, state, known), *last])
        self._told[pid] = _Told(state, self.backends)
        return pid

    def _lead_leaving(self, pid: int, worker: Conversation, state: IngressState) -> None:
        told = self._told.get(pid) or _Told(worker.state(), worker.backends())
        after = state.left_to(told.state, told.backends)
        self._told[pid] = None
        worker.tell(changes(told.state, after))
        self._told[pid] = _Told(after, told.backends)

    def _avoid(self, worker: Conversation, ingresses: Collection[Slot]) -> None:
        if told := self._told.get(worker.pid()):
            worker.tell(_down(ingresses, told.state))
        elif self._state is not None:
            self._lead(worker, self._state)


def _down(ingresses: Collection[Slot], state: IngressState, known: IngressState = _NOTHING) -> list[str]:
    """The commands by which nothing is sent to ingresses of other nodes: of the servers that are not known already."""
    return [
        f"set server {each} health down"
        for at in ingresses
        for each in set(maps.servers_behind(state, at)).difference(maps.servers_behind(known, at))
    ]
