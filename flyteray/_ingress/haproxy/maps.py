"""The maps that HAProxy routes by are made of a state, and a state of them. No effects here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from flyteray._declare.facts import ROLES, Role
from flyteray._declare.options.shares import BY_COOKIE
from flyteray._ingress.entry import grants
from flyteray._ingress.entry.limits import Crowd, Limit
from flyteray._ingress.routes import (
    ELSEWHERE,
    OVER_HTTP2,
    Copying,
    IngressState,
    Slot,
    short_name,
    speaks_http2,
)

APPS = "apps.map"  # an app's name to the backend that serves it
HOSTS = "hosts.map"  # a host name to the app that it leads to
TIMEOUTS = "timeouts.map"  # an app's name to the milliseconds that it may let a client wait
STICKY = "sticky.map"  # the names of the apps that keep a browser on one replica
PRIVATE = "private.map"  # an app that answers only those who send a key to the levels that it asks for
FORWARDS = "forwards.map"  # the names of the apps that are given their callers' keys
KEYS = "keys.map"  # the SHA-256 of a key to what it opens
ORIGINS = "origins.map"  # an app and the origin of pages that may open WebSockets to it, with a slash between
LIMITS = "limits.map"  # an app's name to what it takes at most of a request
CROWDS = "crowds.map"  # a backend to how many requests each of its replicas takes at one time
OPENS = "opens.map"  # of keys that open some apps only: the SHA-256 and an app, with a slash between
OWNERS = "owners.map"  # a backend to the app that it is of
NEAR = "near.map"  # of backends with replicas here and elsewhere: how many are here, and which
SHARES = (
    "shares.map"  # what keeps a client to a version, by app; a backend by each number of 100 that is its own
)
HTTP2 = "http2.map"  # the backends whose replicas speak HTTP/2
SHADOWS = "shadows.map"  # an app's name to which of its requests are copied to which backend
VERSIONS = "versions.map"  # an app's version to its backend, and a backend to the name of its version
FILES = (  # HAProxy goes by these
    *(APPS, HOSTS, TIMEOUTS, STICKY, PRIVATE, FORWARDS, ORIGINS, OPENS),
    *(LIMITS, CROWDS, KEYS, OWNERS, NEAR, SHARES, SHADOWS, VERSIONS, HTTP2),
)

TOLD = "told.map"  # whether a worker that begins knows all by its files
ALL_IS_TOLD = f"set map {TOLD} all yes"
NOTHING = "nothing"  # stands there where no state is known yet

# HAProxy does not know these: they are for the activator alone.
WAITS = "waits.map"  # an app's name to the milliseconds that a request may wait for a replica of it
REASONS = "reasons.map"  # an app's name to why there is no replica of it
FOR_ACTIVATOR = (WAITS, REASONS)

STOPPED = "stopped"  # stands in the map for an app without a backend
COMING = "coming"  # stands there for one that is to have a backend; names the backend where its requests wait
COMING_HTTP2 = "coming-http2"  # the same for one whose replicas will speak HTTP/2
FRONTEND = "apps"  # where clients come
OWN = "-"  # stands among the apps for the ingress's own pages, which no app can be called like
OWN_PAGES = "own"  # names the backend of these
ACTIVATOR = "act"  # the activator's name in each backend
ACTIVATOR_HTTP2 = "act_of_http2"  # where it is spoken to in HTTP/2; as long as the name of any server
ACTIVATORS = (ACTIVATOR, ACTIVATOR_HTTP2)
CHOSEN = "X-Flyteray-Replica"  # the header in which HAProxy names the server that a request goes to
RANK = "X-Flyteray-Priority"  # that in which it says whose requests go first, where that is not as usual
PEER_NAME = "peer.flyteray.internal"  # what the ingresses of a cluster call themselves among each other
PEER_FILE = "peer.pem"  # the certificate of this ingress, with its key
CA_FILE = "ca.pem"  # those that the certificates of the others are signed with
TLS_FILE = "tls.pem"  # what clients are shown, with its key
TLS_CLIENTS_FILE = "tls-clients.pem"  # those that certificates of clients are signed with
CHANCE, COOKIE = "@chance", "@cookie"  # no names of headers
ANY_METHOD, SAFE_METHOD = "any", "safe"
_YES = "yes"
_USUAL: tuple[Role, Role] = ("invoke", "invoke")
_TOLD_TO: tuple[Role, Role] = ("read", "read")  # who may see the own pages, whether or not apps ask for keys

# Connections that become idle once a replica stops are closed within seconds: one that is open then is a request.
_CHECK = "check rise 1 pool-purge-delay 500ms"
_REPLICA = (
    f"{_CHECK} inter 1s downinter 500ms fall 2 fastinter 200ms "
    "observe layer4 error-limit 2 on-error mark-down weight 256"
)
# Each app has servers for other nodes, so a cluster has thousands, and their checks are TLS handshakes: they are few
# while nothing fails. HAProxy checks every ``fastinter`` what has not passed as many checks as it may fail, so after a
# start all of them, unless that is one: thousands of handshakes in a second take too long, and nearly all nodes were
# marked down. One that fails by chance is soon repeated. A connection that fails brings the next check forward; checks
# alone mark a node down, as it may be slow to take connections when it has much to do. One that says nothing any more
# is marked down by who watches for it.
_PEER = (
    f"{_CHECK} inter 2m downinter 2s fall 1 fastinter 1s observe layer4 error-limit 2 on-error fastinter weight 64 "
    f"ssl verify required ca-file {CA_FILE} crt {PEER_FILE} verifyhost {PEER_NAME} check-ssl"
)
_H2 = " proto h2"
_H2_AND_TLS = " alpn h2"


def backend_name(backend: int) -> str:
    """A backend's name in HAProxy."""
    return f"b{backend}"


def backend_number(name: str) -> int:
    """The backend of a name in HAProxy."""
    return int(name.removeprefix("b"))


def is_backend(name: str) -> bool:
    """Whether it is the name of a backend in HAProxy, not that of another section."""
    return name.startswith("b") and name[1:].isdigit()


def server_name(backend: int, slot: int) -> str:
    """The name of a slot's server in its backend.

    That of a replica here is short. That of another node's ingress tells it which replica of which backend is meant.
    """
    return f"{backend_name(backend)}-{short_name(slot)}" if slot > ELSEWHERE else short_name(slot)


def servers_behind(state: IngressState, ingress: Slot) -> list[str]:
    """The servers that stand for the ingress of another node, in a state that a node sees."""
    return [
        f"{backend_name(backend)}/{server_name(backend, slot)}"
        for backend, slots in state.backends.items()
        for slot, at in slots.items()
        if slot > ELSEWHERE and at == ingress
    ]


def is_elsewhere(name: str) -> bool:
    """Whether a server of this name stands for the ingress of another node."""
    return "-" in name


def slot_of(name: str) -> int:
    """The slot of a server of this name."""
    backend, _, replica = name.rpartition("-")
    return int(replica[1:]) + (OVER_HTTP2 if replica[0] == "g" else 0) + (ELSEWHERE if backend else 0)


def options(slot: int, most: int) -> str:
    """What HAProxy is told of a server besides its address; ``most`` requests at one time, or any number for 0.

    What another node's ingress takes is for that to say.
    """
    cookie = f"cookie {slot % OVER_HTTP2}"  # the same at every ingress
    over_http2 = speaks_http2(slot)
    if slot > ELSEWHERE:
        return f"{cookie} {_PEER}{_H2_AND_TLS if over_http2 else ''}"
    return f"{cookie} {_REPLICA}{f' maxconn {most}' if most else ''}{_H2 if over_http2 else ''}"


def entries(state: IngressState) -> dict[str, dict[str, str]]:
    """What the maps say of a state: by file name, value by key."""
    return {
        APPS: {
            app: _nowhere(state, app) if backend is None else backend_name(backend)
            for app, backend in state.apps.items()
        }
        | {OWN: OWN_PAGES},
        HOSTS: dict(state.hosts),
        TIMEOUTS: {app: str(timeout) for app, timeout in state.timeouts.items()},
        STICKY: dict.fromkeys(state.sticky, _YES),
        PRIVATE: {app: _levels(*state.roles.get(app, _USUAL)) for app in state.private}
        | {OWN: _levels(*_TOLD_TO)},
        FORWARDS: dict.fromkeys(state.forwards, _YES),
        ORIGINS: {f"{app}/{origin}": _YES for app, origins in state.origins.items() for origin in origins},
        LIMITS: {app: limit.text() for app, limit in state.limits.items()},
        CROWDS: {backend_name(backend): crowd.text() for backend, crowd in state.crowds.items()},
        KEYS: {digest: grant.text() for digest, grant in state.keys.items()},
        OPENS: dict.fromkeys(grants.opened_apps(state.keys), _YES),
        OWNERS: {backend_name(backend): app for backend, app in state.owners.items()},
        NEAR: dict(state.near),
        SHARES: dict(_shares(state)),
        SHADOWS: {app: _copied(copying) for app, copying in state.shadows.items()},
        VERSIONS: dict(_versions(state)),
        HTTP2: dict.fromkeys((COMING_HTTP2, *map(backend_name, state.http2)), _YES),
        WAITS: {app: str(wait) for app, wait in state.waits.items()},
        REASONS: {app: quote(reason) for app, reason in state.reasons.items()},
    }


def _nowhere(state: IngressState, app: str) -> str:
    """What stands for the backend of an app that has none."""
    if app not in state.coming:
        return STOPPED
    return COMING_HTTP2 if app in state.coming_http2 else COMING


def _shares(state: IngressState) -> Iterator[tuple[str, str]]:
    for app, shares in state.shares.items():
        sticks = state.sticks.get(app)
        yield app, CHANCE if sticks is None else COOKIE if sticks == BY_COOKIE else sticks
        # Those that have drawn a number keep their version while its share grows.
        drawn = (backend for backend, share in sorted(shares.items()) for _ in range(share))
        yield from ((f"{app}.{number}", backend_name(backend)) for number, backend in enumerate(drawn))


def _copied(copying: Copying) -> str:
    methods = SAFE_METHOD if copying.safe_only else ANY_METHOD
    of = f"{copying.name}/{backend_name(copying.backend)}/{backend_name(copying.live)}"
    return f"{of}/{copying.parts}/{methods}"


def _copying(text: str) -> Copying:
    name, backend, live, parts, methods = text.split("/")
    return Copying(name, backend_number(backend), backend_number(live), int(parts), methods == SAFE_METHOD)


def _versions(state: IngressState) -> Iterator[tuple[str, str]]:
    for app, versions in state.versions.items():
        for version, backend in versions.items():
            yield f"{app}/{version}", backend_name(backend)
            yield backend_name(backend), version


def _levels(reading: Role, acting: Role) -> str:
    """The levels of roles as HAProxy takes them apart."""
    return f"{grants.level(reading)}/{grants.level(acting)}"


def _roles(levels: str) -> tuple[Role, Role]:
    reading, acting = (ROLES[int(level) - 1] for level in levels.split("/"))
    return reading, acting


def _origins(pairs: Iterable[str], apps: Container[str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for pair in pairs:
        app, _, origin = pair.partition("/")
        if app in apps:
            found[app] = found.get(app, frozenset()) | {origin}
    return found


def text(content: Mapping[str, str]) -> str:
    """The text of a map file."""
    return "".join(f"{key} {value}\n" for key, value in sorted(content.items()))


def told(anything: bool, everything: bool) -> str:
    """The text of the map that says whether the files tell anything, and if so all: the rest is soon told otherwise."""
    return text({"all": NOTHING if not anything else _YES if everything else "no"})


def tell_anything(text: str) -> bool:
    """Whether the files tell anything, by the text of this map."""
    return parse(text).get("all") != NOTHING


def parse(lines: str) -> dict[str, str]:
    """Value by key from a map file's text. Of two lines for a key the first counts, as in HAProxy."""
    found: dict[str, str] = {}
    for line in lines.splitlines():
        words = line.split()
        if len(words) == 2:
            found.setdefault(*words)
    return found


def state(
    content: Mapping[str, Mapping[str, str]], backends: Mapping[int, Mapping[int, Slot]]
) -> IngressState:
    """The state that maps describe, with the replicas that are there. Without a route, an app can only be private."""
    words = {app: word for app, word in content.get(APPS, {}).items() if app != OWN}
    asked = {app: _roles(text) for app, text in content.get(PRIVATE, {}).items() if app != OWN}
    shares, sticks = _state_of_shares(content.get(SHARES, {}))
    nowhere = (STOPPED, COMING, COMING_HTTP2)
    apps = {app: None if word in nowhere else backend_number(word) for app, word in words.items()}
    return IngressState(
        apps=apps,
        backends=backends,
        hosts={host: app for host, app in content.get(HOSTS, {}).items() if app in apps},
        timeouts={app: int(value) for app, value in content.get(TIMEOUTS, {}).items() if app in apps},
        sticky=frozenset(content.get(STICKY, {}).keys() & apps.keys()),
        private=frozenset(asked),
        roles={app: roles for app, roles in asked.items() if roles != _USUAL},
        forwards=frozenset(content.get(FORWARDS, {}).keys() & apps.keys()),
        origins=_origins(content.get(ORIGINS, {}), apps),
        limits={app: Limit.read(text) for app, text in content.get(LIMITS, {}).items() if app in apps},
        crowds={backend_number(name): Crowd.read(text) for name, text in content.get(CROWDS, {}).items()},
        keys=grants.read(content.get(KEYS, {}), content.get(OPENS, {})),
        owners={backend_number(backend): app for backend, app in content.get(OWNERS, {}).items()},
        near=content.get(NEAR, {}),
        shares={app: each for app, each in shares.items() if app in apps},
        sticks={app: each for app, each in sticks.items() if app in apps},
        shadows={app: _copying(text) for app, text in content.get(SHADOWS, {}).items() if app in apps},
        versions={
            app: each for app, each in _state_of_versions(content.get(VERSIONS, {})).items() if app in apps
        },
        waits={app: int(value) for app, value in content.get(WAITS, {}).items() if app in apps},
        reasons={app: unquote(value) for app, value in content.get(REASONS, {}).items() if app in apps},
        coming=frozenset(app for app, word in words.items() if word in (COMING, COMING_HTTP2)),
        coming_http2=frozenset(app for app, word in words.items() if word == COMING_HTTP2),
        http2=frozenset(backend_number(name) for name in content.get(HTTP2, {}) if name != COMING_HTTP2),
    )


def _state_of_shares(content: Mapping[str, str]) -> tuple[dict[str, dict[int, int]], dict[str, str]]:
    shares: dict[str, Counter[int]] = {}
    sticks: dict[str, str] = {}
    for key, value in content.items():
        app, _, number = key.partition(".")
        if number:
            shares.setdefault(app, Counter())[backend_number(value)] += 1
        elif value != CHANCE:
            sticks[app] = BY_COOKIE if value == COOKIE else value
    return {app: dict(each) for app, each in shares.items()}, sticks


def _state_of_versions(content: Mapping[str, str]) -> dict[str, dict[str, int]]:
    versions: dict[str, dict[str, int]] = {}
    for key, value in content.items():
        app, _, version = key.partition("/")
        if version:
            versions.setdefault(app, {})[version] = backend_number(value)
    return versions
