"""Routes lead from apps to backends and from these to replicas: the state that the ingress is to be in."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from flyteray._declare.facts import Role
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd, Limit

FEWEST = 128  # backends that are there ahead, ``b0`` to ``b127``, so that a new app version needs no reload
MOST = 8192  # backends that there can be: HAProxy takes about 20 KiB of memory for each, and reads all when it starts
SLOTS = 1000  # replicas that a backend can hold, in slots from 1
ELSEWHERE = (
    1_000_000  # added to the slot of a replica on another node: the address is that of the ingress there
)
OVER_HTTP2 = 100_000  # added to the slot of a replica that speaks HTTP/2 without TLS, and nothing else

LOOPBACK = "127.0.0.1"

_NAME = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")
_HOST = re.compile(r"[0-9A-Za-z.:-]+")
_HOST_NAME = re.compile(r"[0-9a-z.-]+")
_SHADOW = re.compile(r"[0-9a-z]+")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Slot:
    """Where a replica listens: the IP address of its node, and a TCP port there, on loopback."""

    host: str
    port: int

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ValueError(f"A replica's host must be an IP address, not {self.host!r}.")
        if not 0 < self.port < 65536:
            raise ValueError(f"A replica's port must be between 1 and 65535, not {self.port}.")


@dataclass(frozen=True)
class Copying:
    """Requests of an app that are copied: of ``parts`` in 10,000 of those to the ``live`` backend another one gets a
    copy, with ``safe_only`` of those that are to change nothing. ``name`` is the shadow's, of digits and small letters.
    """

    name: str
    backend: int
    live: int
    parts: int
    safe_only: bool = False

    def __post_init__(self) -> None:
        if not _SHADOW.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} can't be a shadow's name: it is made of digits and small letters."
            )
        if not 0 < self.parts <= 10_000:
            raise ValueError(f"Requests that are copied must be 1 to 10000 of 10000, not {self.parts}.")


@dataclass(frozen=True)
class IngressState:
    """Everything that the ingress routes by. Mappings must not change afterwards.

    Args:
        apps: The backend that serves an app by the app's name, or None for an app that exists but has none.
        coming: Those of the apps without a backend that are to have one; the others are stopped.
        coming_http2: Those of them whose replicas will speak HTTP/2.
        http2: The backends whose replicas speak HTTP/2: their slots are numbered from :data:`OVER_HTTP2`.
        hosts: The app that a host name leads to, in lower case, besides ``<app>.localhost``.
        timeouts: Milliseconds that an app may let a client wait; an hour for apps that are missing.
        sticky: The apps that keep a browser on one replica.
        private: The apps that answer only those who send a key, whether they are there or not.
        roles: The least roles of keys that a private app asks for, for what reads (GET, HEAD) and for all else;
            ``invoke`` for those missing.
        forwards: The apps that are given their callers' keys.
        origins: The origins, such as ``https://page.example``, of pages besides an app's own that may open WebSockets
            to it; ``*`` for all.
        limits: What an app takes at most of a request.
        crowds: How many requests each replica of a backend takes at one time; any number for those missing.
        keys: What each key opens, by the SHA-256 of the key in hex.
        waits: Milliseconds that a request may wait for a replica of an app; it is answered at once for those missing.
        reasons: Why there is no replica of an app, for those who ask for it in vain.
        backends: The replicas of a backend by slot. A backend that serves no app may be here while it drains:
            its open connections go on. A slot that is missing takes no requests.
        owners: The app of each backend.
        shares: Percent of an app's requests by backend, for versions beside the one that serves.
        shadows: Which of an app's requests are copied, and where to.
        sticks: What keeps a client of such an app to one version: ``"cookie"``, or a header; else it is chance.
        versions: The backends of an app's versions that are up, by the version's name: a request may ask for one.
        peers: The port at which the ingress of a node takes what other ingresses send, by the node's address.
        near: What :meth:`seen_from` says of the backends with replicas here and elsewhere: how many are here, by
            ``b<backend>``, and the server of each, by ``b<backend>.<number>`` from 0.
        names: What is told of backends and replicas to people: the version of ``b<backend>``, and the replica of
            ``b<backend>/s<slot>``, by :func:`short_name`.

    Raises:
        ValueError: a name, backend or slot that can't be routed to.
    """

    apps: Mapping[str, int | None] = field(default_factory=dict)
    backends: Mapping[int, Mapping[int, Slot]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)
    timeouts: Mapping[str, int] = field(default_factory=dict)
    sticky: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    keys: Mapping[str, Grant] = field(default_factory=dict)
    waits: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    coming: frozenset[str] = frozenset()
    owners: Mapping[int, str] = field(default_factory=dict)
    shares: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    sticks: Mapping[str, str] = field(default_factory=dict)
    shadows: Mapping[str, Copying] = field(default_factory=dict)
    versions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    peers: Mapping[str, int] = field(default_factory=dict)
    near: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, tuple[Role, Role]] = field(default_factory=dict)
    forwards: frozenset[str] = frozenset()
    origins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limit] = field(default_factory=dict)
    crowds: Mapping[int, Crowd] = field(default_factory=dict)
    http2: frozenset[int] = frozenset()
    coming_http2: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for name in [*self.apps, *self.private]:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} can't be an app's name: use lower-case letters, digits, and '-' or '_' between."
                )
        for backend in (*self.apps.values(), *self.http2):
            if backend is not None:
                _check_backend(backend)
        for backend, slots in self.backends.items():
            _check_backend(backend)
            for slot in slots:
                if not 1 <= slot % OVER_HTTP2 <= SLOTS:
                    raise ValueError(f"Backend {backend} has no slot {slot}: slots are 1 to {SLOTS}.")
        for host in self.hosts:
            if not _HOST_NAME.fullmatch(host):
                raise ValueError(f"{host!r} is no host name in lower case.")
        for digest in self.keys:
            if not _DIGEST.fullmatch(digest):
                raise ValueError(f"{digest!r} is no SHA-256 in hex.")
        for what, times in {"timeout": self.timeouts, "wait": self.waits}.items():
            for app, time in times.items():
                if time < 1:
                    raise ValueError(f"The {what} of app {app!r} must be at least 1 ms, not {time}.")
        of_apps = (
            self.timeouts,
            self.sticky,
            self.waits,
            self.reasons,
            self.coming,
            self.coming_http2,
            self.shares,
            self.shadows,
            self.sticks,
            self.forwards,
            self.origins,
            self.limits,
        )
        named = {*self.hosts.values(), *self.versions, *itertools.chain.from_iterable(of_apps)}
        for app, shares in self.shares.items():
            if min(shares.values(), default=0) < 0 or sum(shares.values()) > 100:
                raise ValueError(f"The shares of app {app!r} must be percent: {dict(shares)} are not.")
        for app in named - self.apps.keys():
            raise ValueError(f"There is no app {app!r} to route to.")

    def slots(self, backend: int) -> Mapping[int, Slot]:
        """The replicas of a backend; none for one that isn't used."""
        return self.backends.get(backend, {})

    def most(self, backend: int) -> int:
        """How many requests each replica of a backend takes at one time; 0: any number."""
        crowd = self.crowds.get(backend)
        return crowd.most if crowd else 0

    def needs(self) -> int:
        """How many backends there must be, counted from 0."""
        named = (backend for backend in self.apps.values() if backend is not None)
        return 1 + max((*named, *self.backends, *self.owners, *self.http2), default=-1)

    def others(self) -> set[Slot]:
        """Where the ingresses of the other nodes with replicas are, in a state that a node sees."""
        return {at for slots in self.backends.values() for number, at in slots.items() if number > ELSEWHERE}

    def without_replicas(self) -> IngressState:
        """The same apps with nothing behind them: what is still true when the replicas are gone."""
        return self.but(backends={})

    def seen_from(self, address: str) -> IngressState:
        """The same from the node of this address: its own replicas are on loopback, the others behind their ingress.

        Of the replicas that another node has, one stands for all, as the ingress there divides the requests among them;
        each stands for itself where a browser keeps to one. What is on a node without an ingress can't be reached.
        """
        backends: dict[int, dict[int, Slot]] = {}
        near: dict[str, str] = {}
        for backend, slots in self.backends.items():
            here = {n: Slot(LOOPBACK, slot.port) for n, slot in sorted(slots.items()) if slot.host == address}
            others = {
                n: slot.host for n, slot in slots.items() if slot.host != address and slot.host in self.peers
            }
            sticky = self.owners.get(backend) in self.sticky
            first = {host: n for n, host in sorted(others.items(), reverse=True)}
            elsewhere = {
                ELSEWHERE + n: Slot(host, self.peers[host])
                for n, host in others.items()
                if sticky or first[host] == n
            }
            backends[backend] = here | elsewhere
            if here and elsewhere and not sticky:
                near[f"b{backend}"] = str(len(here))
                near |= {f"b{backend}.{turn}": short_name(number) for turn, number in enumerate(here)}
        return self.but(backends=backends, near=near, peers={})

    def left_to(self, begun: IngressState, backends: int) -> IngressState:
        """The same for a HAProxy that has so many backends and can't change their servers any more.

        ``begun`` has those replicas, and what they speak. An app whose replicas are others by now has no backend there:
        what is asked of it waits to be passed on.
        """

        def is_true(backend: int) -> bool:
            slots = self.slots(backend)
            there = begun.slots(backend)
            same = backend < backends and all(slots.get(slot) == at for slot, at in there.items())
            return same and (backend in self.http2) == (backend in begun.http2)

        lost = {app for app, backend in self.apps.items() if backend is not None and not is_true(backend)}
        return self.but(
            apps={app: None if app in lost else backend for app, backend in self.apps.items()},
            coming=self.coming | lost,
            coming_http2=self.coming_http2 | {app for app in lost if self.apps[app] in self.http2},
            http2=begun.http2,
            shares={
                app: {b: share for b, share in each.items() if is_true(b)}
                for app, each in self.shares.items()
            },
            shadows={app: each for app, each in self.shadows.items() if is_true(each.backend)},
            versions={
                app: {n: b for n, b in each.items() if is_true(b)} for app, each in self.versions.items()
            },
            backends=begun.backends,
            near=begun.near,
        )

    def with_told(self, told: IngressState) -> IngressState:
        """The same with what another one tells the activator of those apps that it has."""
        return self.but(
            waits={app: wait for app, wait in told.waits.items() if app in self.apps},
            reasons={app: reason for app, reason in told.reasons.items() if app in self.apps},
        )

    def but(self, **fields: Any) -> IngressState:
        """The same with other fields, that come of states: they are not checked again, as that takes long."""
        made = copy.copy(self)
        made.__dict__.update(fields)
        return made


def speaks_http2(slot: int) -> bool:
    """Whether the replica in a slot speaks HTTP/2 without TLS."""
    return slot % ELSEWHERE > OVER_HTTP2


def short_name(slot: int) -> str:
    """The name of a replica's server at the ingress of its own node. Two protocols are two servers."""
    return f"{'g' if speaks_http2(slot) else 's'}{slot % OVER_HTTP2}"


def pool(backends: int) -> int:
    """How many backends to have where so many are needed: a power of two, so that they seldom become more."""
    return min(MOST, max(FEWEST, 1 << (backends - 1).bit_length())) if backends else FEWEST


def free_backend(taken: Iterable[int]) -> int | None:
    """The first backend that is not taken; None where all are."""
    free = set(range(MOST)).difference(taken)
    return min(free) if free else None


def _check_backend(backend: int) -> None:
    if not 0 <= backend < MOST:
        raise ValueError(
            f"There is no backend {backend}: the ingress has {MOST} at most, from 0 to {MOST - 1}."
        )
