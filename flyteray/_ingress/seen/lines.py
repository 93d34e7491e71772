"""The line that HAProxy writes of each request when it has ended is laid down here, and read. No effects here."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from flyteray._ingress.haproxy.supervisor import SEEN
from flyteray._ingress.seen import traces
from flyteray._ingress.seen.traces import Trace
from flyteray._traces.asked import Sampling

NUMBER = "%pid.%rt"  # names a request
_LONGEST = 4000  # bytes that a pipe takes as a whole or not at all; a path that is longer is cut

# The number of the process and of its request name a line. The rest: where the request went, how it ended, the bytes of
# it and of its answer, the milliseconds that it waited and that connecting took, when, in microseconds, it was known,
# answered and over, what there is to say of a copy, and what it was; "-" stands for what has not happened. Without the
# bytes the line would be written when the answer begins. What a client has written comes last, without spaces in HTTP.
_COUNTED = (
    f"{NUMBER} %b %s %ST %tsc %U %B %Tw %Tc "
    "%[var(txn.since)] %[var(txn.answered)] %[date(0,us)] %[var(txn.copy)]"
)
_LOGGED = (
    "%[{client}] %[var(txn.user)] %[var(txn.id)] %[var(txn.served)] %[var(txn.method)] %[var(txn.app)] "
    "%[var(txn.path)]"
)
_NOT_LOGGED = "- - - - - %[var(txn.app)] -"
# where traces are asked for; "-" unless that of the request is recorded
_NOT_LOGGED_BUT_TRACED = "- - %[var(txn.id)] - %[var(txn.method)] %[var(txn.app)] %[var(txn.path)]"
_TRACED = "%[var(txn.traced)]"
_FIELDS = 20
_ID = "X-Request-Id"
_SERVED = "X-Flyteray-Served"  # in it the ingress of another node says which of its replicas has answered


_LOGGED_RULES = f"""
    http-request set-var(txn.path) path
    http-request set-var(txn.method) method
    acl from_peer srv_name -m beg b act
    http-response set-var(txn.served) res.hdr({_SERVED}) if from_peer
    http-response del-header {_SERVED} if from_peer"""


def rules(client: str, logs: bool, sampling: Sampling | None = None) -> str:
    """What the frontend says whose requests are seen; ``client`` is where HAProxy finds the address of who asks.

    A request has an identifier that its client chose, if that is one, or else a new one. Unless it ``logs`` requests,
    their lines tell only what is counted: the rest would take half as much time again. With a ``sampling`` they tell
    of traces.
    """
    rest = _LOGGED.format(client=client) if logs else _NOT_LOGGED
    if sampling is not None:
        rest = f"{_TRACED} {rest if logs else _NOT_LOGGED_BUT_TRACED}"
    return f"""\
    log "fd@${{{SEEN}}}" len {_LONGEST} format raw local0 info
    log-format "{_COUNTED} {rest}"{_LOGGED_RULES if logs else ""}
    acl has_id req.hdr({_ID}) -m reg ^[0-9A-Za-z._:=+/@-]{{1,128}}$
    http-request set-var(txn.id) req.hdr({_ID}) if has_id
    http-request set-var(txn.id) uuid() unless {{ var(txn.id) -m found }}
    http-request set-header {_ID} %[var(txn.id)]
    http-after-response set-header {_ID} %[var(txn.id)]
    http-after-response set-var(txn.answered) date(0,us){traces.rules(sampling, logs)}"""


def peers_rules(logs: bool) -> str:
    """What the frontend says to which other nodes' ingresses come: these see the requests."""
    return f"    http-response set-header {_SERVED} %[srv_name]" if logs else ""


class Fate(NamedTuple):
    """How a request ended.

    Attributes:
        is_aborted: Its client left first; a WebSocket may be ended by either side.
        is_answered: An answer had begun; HAProxy notes one for who has left before it, too.
        is_error: It failed for no fault of the client's; a WebSocket has succeeded when it was opened.
    """

    is_aborted: bool
    is_answered: bool
    is_error: bool


@lru_cache(maxsize=1024)
def fate(status: int, termination: str) -> Fate:
    """How a request ended that was answered so, and of which HAProxy has these four letters to say."""
    is_aborted = termination[0] in "Cc" and status != 101
    broke_off = termination[:2] in ("SD", "sD") and status != 101
    return Fate(
        is_aborted=is_aborted,
        is_answered=status > 0 and not (is_aborted and termination[1] != "D"),
        is_error=not is_aborted and (status >= 500 or broke_off),
    )


class Ended:
    """A request that has ended. There is one for each that is made, so of its line only what is asked for is read.

    Attributes:
        number: What names it among all lines.
        copy: The mark of a request that is copied, or of a copy, as :mod:`~flyteray._ingress.copies.marks` reads it.
        backend: The backend that it was sent to, or that of the frontend that answered itself.
        server: The server there, as HAProxy calls it.
        status: That of the answer; 0 or less where there was none.
        termination: HAProxy's four letters of how it ended.
        sizes: The bytes of the request, and those of the answer.
        waits: Milliseconds that it waited for a replica to have room, and that connecting to the replica took; less
            than 0 where it did not come so far.
        over_us: When it ended, in microseconds since 1970.
        client: The address of who asked.
        user: The name of the key that it came with; "-" without a key that is right, as with the next ones.
        id: Its ``X-Request-Id``.
        served: The replica of another node that has answered, as HAProxy calls it there; "-" where it is of this one.
        method: HTTP's.
        app: The app that it named, if it is one.
        path: Its path as the client wrote it, without the query, which may hold what nobody else is to read.
        trace: That which it belongs to; None where none is recorded.
    """

    __slots__ = (
        *("_since", "_answered", "over_us", "backend", "server", "status", "termination", "sizes", "waits"),
        *("number", "copy", "client", "user", "id", "served", "method", "app", "path", "trace"),
    )

    def __init__(self, words: list[str]) -> None:
        self.number, self.backend, self.server, status, self.termination, *numbers = words[:12]
        self.status = int(status)
        self.sizes, self.waits = numbers[:2], numbers[2:4]
        self._since, self._answered, over = numbers[4:]
        self.over_us = int(over)
        self.trace = Trace.read(words.pop(13)) if len(words) > _FIELDS else None
        self.copy, self.client, self.user, self.id, self.served, self.method, self.app, self.path = words[12:]

    @property
    def fate(self) -> Fate:
        """How it ended."""
        return fate(self.status, self.termination)

    @property
    def latency_us(self) -> int | None:
        """Microseconds from its headers to the answer's; None: no answer, or the frontend's."""
        return None if self._since == "-" else self.answered_after(int(self._since))

    def answered_after(self, at_us: int) -> int | None:
        """Microseconds from a time, counted since 1970, to the answer's headers; None: no answer, or the frontend's."""
        return None if self._answered == "-" else max(0, int(self._answered) - at_us)

    @property
    def whole_us(self) -> int | None:
        """Microseconds from its headers to its end; None where it was not sent to a backend."""
        return None if self._since == "-" else max(0, self.over_us - int(self._since))


def read(line: bytes) -> Ended | None:
    """The request that a line tells of; None where HAProxy tells of something else."""
    words = line.decode(errors="replace").split(" ", _FIELDS)
    try:
        return Ended(words) if _FIELDS <= len(words) <= _FIELDS + 1 else None
    except ValueError:
        return None
