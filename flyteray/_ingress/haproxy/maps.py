"""The maps that HAProxy routes by are made of a state, and a state of them. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from flyteray._ingress.routes import ELSEWHERE, IngressState, Slot

APPS = "apps.map"  # an app's name to the backend that serves it
HOSTS = "hosts.map"  # a host name to the app that it leads to
TIMEOUTS = "timeouts.map"  # an app's name to the milliseconds that it may let a client wait
STICKY = "sticky.map"  # the names of the apps that keep a browser on one replica
PRIVATE = "private.map"  # the names of the apps that answer only those who send a key
KEYS = "keys.map"  # the SHA-256 of a key to the name of its owner
OWNERS = "owners.map"  # a backend to the app that it is of
NEAR = "near.map"  # of backends with replicas here and elsewhere: how many are here, and which
FILES = (APPS, HOSTS, TIMEOUTS, STICKY, PRIVATE, KEYS, OWNERS, NEAR)  # HAProxy goes by these

# HAProxy does not know these: they are for the activator alone.
WAITS = "waits.map"  # an app's name to the milliseconds that a request may wait for a replica of it
REASONS = "reasons.map"  # an app's name to why there is no replica of it
FOR_ACTIVATOR = (WAITS, REASONS)

STOPPED = "stopped"  # stands in the map for an app without a backend
COMING = "coming"  # stands there for one that is to have a backend; names the backend where its requests wait
ACTIVATOR = "act"  # the activator's name in each backend
CHOSEN = "X-Flyteray-Replica"  # the header in which HAProxy names the server that a request goes to
PEER_NAME = "peer.flyteray.internal"  # what the ingresses of a cluster call themselves among each other
PEER_FILE = "peer.pem"  # the certificate of this ingress, with its key
CA_FILE = "ca.pem"  # those that the certificates of the others are signed with
_YES = "yes"

# Connections that become idle once a replica stops are closed within seconds: one that is open then is a request.
_CHECK = "check rise 1 pool-purge-delay 500ms"
_REPLICA = (
    f"{_CHECK} inter 1s downinter 500ms fall 2 fastinter 200ms "
    "observe layer4 error-limit 2 on-error mark-down weight 256"
)
# Each app has servers for other nodes, so a cluster has thousands, and their checks are TLS handshakes: they are few
# while nothing fails. A connection that fails brings the next ones forward; they alone mark a node down, as it may be
# slow to take connections when it has much to do. One that says nothing any more is marked down by who watches for it.
_PEER = (
    f"{_CHECK} inter 30s downinter 5s fall 3 fastinter 1s observe layer4 error-limit 2 on-error fastinter weight 64 "
    f"ssl verify required ca-file {CA_FILE} crt {PEER_FILE} verifyhost {PEER_NAME} check-ssl"
)


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
    return f"{backend_name(backend)}-s{slot - ELSEWHERE}" if slot > ELSEWHERE else f"s{slot}"


def servers_behind(state: IngressState, ingress: Slot) -> list[str]:
    """The servers that stand for the ingress of another node, in a state that a node sees."""
    return [
        f"{backend_name(backend)}/{server_name(backend, slot)}"
        for backend, slots in state.backends.items()
        for slot, at in slots.items()
        if slot > ELSEWHERE and at == ingress
    ]


def slot_of(name: str) -> int:
    """The slot of a server of this name."""
    backend, _, replica = name.rpartition("-")
    return int(replica[1:]) + (ELSEWHERE if backend else 0)


def options(slot: int) -> str:
    """What HAProxy is told of a server besides its address."""
    cookie = f"cookie {slot % ELSEWHERE}"  # the same at every ingress
    return f"{cookie} {_PEER if slot > ELSEWHERE else _REPLICA}"


def entries(state: IngressState) -> dict[str, dict[str, str]]:
    """What the maps say of a state: by file name, value by key."""
    return {
        APPS: {
            app: (COMING if app in state.coming else STOPPED) if backend is None else backend_name(backend)
            for app, backend in state.apps.items()
        },
        HOSTS: dict(state.hosts),
        TIMEOUTS: {app: str(timeout) for app, timeout in state.timeouts.items()},
        STICKY: dict.fromkeys(state.sticky, _YES),
        PRIVATE: dict.fromkeys(state.private, _YES),
        KEYS: dict(state.keys),
        OWNERS: {backend_name(backend): app for backend, app in state.owners.items()},
        NEAR: dict(state.near),
        WAITS: {app: str(wait) for app, wait in state.waits.items()},
        REASONS: {app: quote(reason) for app, reason in state.reasons.items()},
    }


def text(content: Mapping[str, str]) -> str:
    """The text of a map file."""
    return "".join(f"{key} {value}\n" for key, value in sorted(content.items()))


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
    words = content.get(APPS, {})
    apps = {app: None if word in (STOPPED, COMING) else backend_number(word) for app, word in words.items()}
    return IngressState(
        apps=apps,
        backends=backends,
        hosts={host: app for host, app in content.get(HOSTS, {}).items() if app in apps},
        timeouts={app: int(value) for app, value in content.get(TIMEOUTS, {}).items() if app in apps},
        sticky=frozenset(content.get(STICKY, {}).keys() & apps.keys()),
        private=frozenset(content.get(PRIVATE, {})),
        keys=content.get(KEYS, {}),
        owners={backend_number(backend): app for backend, app in content.get(OWNERS, {}).items()},
        near=content.get(NEAR, {}),
        waits={app: int(value) for app, value in content.get(WAITS, {}).items() if app in apps},
        reasons={app: unquote(value) for app, value in content.get(REASONS, {}).items() if app in apps},
        coming=frozenset(app for app, word in words.items() if word == COMING),
    )
