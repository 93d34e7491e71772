"""The next steps about apps, and the state of the ingress, from what is wanted and observed. No effects here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flyteray._control.apps.hosts import own_hosts, timeout_ms
from flyteray._control.apps.state import RUNNING, AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.routes import OVER_HTTP2, Copying, IngressState, Slot, short_name
from flyteray._plan.spec import AppSpec, LimitsSpec
from flyteray._plan.triggers.windows import sized

REPLACED_DRAIN = timedelta(hours=1)  # for open requests and connections of a replaced version
STOPPED_DRAIN = timedelta(seconds=10)  # for those of an app that the user stops
_BUILD_S = 1800.0  # for an image
_LONGEST_REASON = 2000
SETTLE = timedelta(seconds=1)  # requests that the ingress had just routed become visible as sessions


@dataclass(frozen=True)
class Deploy:
    """Hand a version to Serve."""

    version: str


@dataclass(frozen=True)
class Ready:
    """All replicas of a version are ready; others that its app needs are not."""

    version: str


@dataclass(frozen=True)
class Promote:
    """All versions that are wanted are ready: the route points to the target, and the shares are as wanted."""

    version: str
    app: str


@dataclass(frozen=True)
class TakeBack:
    """A version that was to have a share of the requests could not start: it has none."""

    version: str
    app: str


@dataclass(frozen=True)
class Drain:
    """Send a version no new requests; open ones go on."""

    version: str


@dataclass(frozen=True)
class Resume:
    """A draining version is wanted again: it needs no new start."""

    version: str


@dataclass(frozen=True)
class Retire:
    """End a version's replicas."""

    version: str


Step = Deploy | Ready | Promote | TakeBack | Drain | Resume | Retire


def next_steps(
    apps: Iterable[AppRecord],
    versions: Iterable[VersionRecord],
    replicas: Iterable[ReplicaRecord],
    sessions: Mapping[int, int],
    now: datetime,
) -> list[Step]:
    """The steps that bring all versions, and the replicas that are ready, closer to what is wanted of the apps.

    ``sessions`` are the open requests and connections by backend of the ingress; ``now`` is UTC.
    """
    known = {version.id: version for version in versions}
    ready = Counter(replica.info.version for replica in replicas)
    up = {version.id for version in known.values() if _is_up(version, ready[version.id], now)}
    wanted: dict[str, AppRecord] = {}
    limits: dict[str, timedelta] = {}
    for app in apps:
        limits[app.name] = REPLACED_DRAIN if app.desired == "active" else STOPPED_DRAIN
        if app.desired == "active":
            wanted.update({version: app for version in app.versions if version in known})
    steps = [
        step
        for version in known.values()
        for step in (
            _keep(version, wanted[version.id], up)
            if version.id in wanted
            else _end(version, _drained(version, sessions, now, limits.get(version.app, STOPPED_DRAIN)))
        )
    ]
    # An app that is as it was wanted has no version any more that is not said to be ready.
    return sorted(steps, key=lambda step: not isinstance(step, Ready))


def _is_up(version: VersionRecord, ready: int, now: datetime) -> bool:
    if version.phase is VersionPhase.DEPLOYING:
        return ready >= sized(version.spec, now).replicas
    return version.phase is VersionPhase.READY


def _keep(version: VersionRecord, app: AppRecord, up: Collection[str]) -> Iterator[Step]:
    is_promoted = (app.serving, app.routed) == (app.target, app.shares)
    may_serve = app.target == version.id and all(share in up for share in app.shares)
    match version.phase:
        case VersionPhase.PENDING | VersionPhase.RETIRED:
            yield Deploy(version.id)
        case VersionPhase.DEPLOYING if version.id in up:
            yield Promote(version.id, app.name) if may_serve else Ready(version.id)
        case VersionPhase.DRAINING:
            yield Resume(version.id)
        case VersionPhase.READY if may_serve and not is_promoted:
            yield Promote(version.id, app.name)
        case VersionPhase.FAILED if version.id in app.shares:
            yield TakeBack(version.id, app.name)


def _end(version: VersionRecord, drained: bool) -> Iterator[Step]:
    match version.phase:
        case VersionPhase.READY:
            yield Drain(version.id)
        case VersionPhase.DEPLOYING:
            yield Retire(version.id)
        case VersionPhase.DRAINING if drained:
            yield Retire(version.id)


def _drained(version: VersionRecord, sessions: Mapping[int, int], now: datetime, limit: timedelta) -> bool:
    if version.draining_since is None or version.backend is None:
        return True
    waited = now - version.draining_since
    # An unknown count is not zero: the ingress may be restarting.
    return (waited >= SETTLE and sessions.get(version.backend, 1) == 0) or waited >= limit


def ingress_state(
    apps: Iterable[AppRecord],
    versions: Iterable[VersionRecord],
    replicas: Iterable[ReplicaRecord],
    keys: Mapping[str, Grant] | None = None,
    auth: bool = False,
    resting: Collection[str] = (),
    lacking: Mapping[str, str] | None = None,
    silent: Collection[str] = (),
) -> IngressState:
    """The way of requests: from apps to the backend of the version that serves, from backends to replicas.

    A replica whose event loop is blocked, whose server says that it takes no requests, or that is silent, is left out
    while another one of its version is free; the requests that it has go on. Host names, a time limit and keys are
    those of the version that serves, so that they change together with the version. Where an app comes up for the first
    time, sleeps, or its last replica died, requests wait as long as one may take to start, unless it could not; then
    they are told why.

    Args:
        apps: All apps, as they are wanted.
        versions: All versions of these.
        replicas: The replicas that are ready.
        keys: What each key opens, by digest.
        auth: Whether apps that require auth ask for keys.
        resting: The versions that sleep or are being woken: requests wait for them in any case.
        lacking: Why replicas don't start yet, by version.
        silent: The replicas that have not reported for long.
    """
    apps = list(apps)
    known = {version.id: version for version in versions}
    backends = {version.id: version.backend for version in known.values() if version.backend is not None}
    http2 = frozenset(
        version.backend
        for version in known.values()
        if version.backend is not None and version.spec.protocol == "h2c"
    )
    slots: dict[int, dict[int, Slot]] = {backend: {} for backend in backends.values()}
    names: dict[str, str] = {
        f"b{backend}": known[version].spec.version or version for version, backend in backends.items()
    }
    for replica in _free(replicas, silent):
        backend = backends.get(replica.info.version)
        if backend is not None:
            over = OVER_HTTP2 if backend in http2 else 0
            slots[backend][over + replica.slot] = Slot(replica.info.host, replica.info.port)
            names[f"b{backend}/{short_name(over + replica.slot)}"] = replica.info.replica_id
    routes = {
        app.name: backends.get(app.serving or app.target) if app.desired == "active" else None for app in apps
    }
    asked = {app.name: version for app in apps if (version := known.get(app.serving or app.target))}
    shown = {name: version.spec for name, version in asked.items()}
    active = {app.name: asked[app.name] for app in apps if app.desired == "active" and app.name in asked}
    waits = {
        name: round(_longest_start_s(version.spec) * 1000)
        for name, version in active.items()
        if _may_wait(version, version.id in resting)
    }
    reasons = {
        name: reason
        for name, version in active.items()
        if (reason := _why_none(version, (lacking or {}).get(version.id)))
    }
    answered = {name for name, backend in routes.items() if backend is not None and slots.get(backend)}
    # The time in which a replica must answer is counted from when the request came.
    timeouts = {
        name: timeout + (0 if name in answered else waits.get(name, 0))
        for name, spec in shown.items()
        if (timeout := timeout_ms(spec)) is not None
    }
    coming = frozenset(app.name for app in apps if app.desired == "active" and routes[app.name] is None)
    return IngressState(
        apps=routes,
        shares={
            app.name: shares for app in apps if (shares := _shares(app, backends, slots, known, resting))
        },
        shadows={
            app.name: copying for app in apps if (copying := _copying(app, backends, slots, known, resting))
        },
        sticks={app.name: app.sticks for app in apps if app.sticks and app.routed},
        versions={
            app.name: {
                known[version].spec.version_name: backends[version]
                for version in app.versions
                if version in backends and known[version].phase is VersionPhase.READY
            }
            for app in apps
            if app.desired == "active"
        },
        coming=coming,
        coming_http2=frozenset(
            name for name in coming if name in active and active[name].spec.protocol == "h2c"
        ),
        http2=http2,
        backends=slots,
        owners={version.backend: version.app for version in known.values() if version.backend is not None},
        hosts={host: name for name, spec in shown.items() for host in own_hosts(spec)},
        timeouts=timeouts,
        sticky=frozenset(name for name, spec in shown.items() if spec.sticky),
        private=frozenset(name for name, spec in shown.items() if auth and spec.requires_auth),
        roles={
            name: (spec.reading, spec.acting)
            for name, spec in shown.items()
            if (spec.reading, spec.acting) != ("invoke", "invoke")
        },
        forwards=frozenset(name for name, spec in shown.items() if spec.forward_key),
        origins={
            name: frozenset(spec.allowed_origins) for name, spec in shown.items() if spec.allowed_origins
        },
        limits={name: limit for name, spec in shown.items() if (limit := _limit(spec))},
        crowds={
            version.backend: Crowd(limits.concurrency, limits.queue)
            for version in known.values()
            if version.backend is not None and (limits := version.spec.limits) and limits.concurrency
        },
        keys=keys or {},
        waits=waits,
        reasons=reasons,
        names=names,
    )


def _limit(spec: AppSpec) -> Limit | None:
    """What an app takes at most of a request; None where it sets no limit."""
    limits = spec.limits or LimitsSpec()
    limit = Limit(limits.rate, limits.body, limits.headers)
    return None if limit == Limit() else limit


def _shares(
    app: AppRecord,
    backends: Mapping[str, int],
    slots: Mapping[int, Mapping[int, Slot]],
    known: Mapping[str, VersionRecord],
    resting: Collection[str],
) -> dict[int, int]:
    """The percent of an app's requests by the backend of versions beside the one that serves, which can take them."""
    return {
        backends[version]: share
        for version, share in app.routed.items()
        if share
        and app.desired == "active"
        and version in backends
        and known[version].phase is VersionPhase.READY
        and (slots[backends[version]] or version in resting)
    }


def _copying(
    app: AppRecord,
    backends: Mapping[str, int],
    slots: Mapping[int, Mapping[int, Slot]],
    known: Mapping[str, VersionRecord],
    resting: Collection[str],
) -> Copying | None:
    """Which of an app's requests are copied to a shadow that can take them; None where there is none."""
    live = backends.get(app.serving or "")
    if app.desired != "active" or live is None:
        return None
    for version, share in app.routed.items():
        record = known.get(version)
        if (
            share
            or record is None
            or record.shadow is None
            or not record.is_shadow
            or version not in backends
        ):
            continue
        if record.phase is VersionPhase.READY and (slots[backends[version]] or version in resting):
            shadow = record.shadow
            return Copying(shadow.name, backends[version], live, shadow.spec.parts, shadow.spec.safe_only)
    return None


def _may_wait(version: VersionRecord, resting: bool) -> bool:
    return resting or (version.phase in (VersionPhase.PENDING, *RUNNING) and version.error is None)


def _longest_start_s(spec: AppSpec) -> float:
    """The time that a replica may take from when it is asked for; longer where its image may have to be built."""
    return max(0.001, spec.startup_timeout_s + (_BUILD_S if spec.environment.image is not None else 0.0))


def _why_none(version: VersionRecord, lacks: str | None) -> str | None:
    """The reason why a version has no replica, in words for those who ask for it in vain."""
    if version.error is not None:
        return f"it could not start: {version.error.code}: {version.error.message}"[:_LONGEST_REASON]
    return f"it {lacks}" if lacks else None


def _free(replicas: Iterable[ReplicaRecord], silent: Collection[str]) -> list[ReplicaRecord]:
    replicas = list(replicas)
    answering = [
        each
        for each in replicas
        if not each.info.blocked and not each.info.unwell and each.info.replica_id not in silent
    ]
    free = {replica.info.version for replica in answering}
    return answering + [replica for replica in replicas if replica.info.version not in free]
