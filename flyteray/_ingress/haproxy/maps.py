"""The maps that HAProxy routes by are made of a state, and a state of them. No effects here."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from flyteray._ingress.routes import IngressState, Slot

APPS = "apps.map"  # an app's name to the backend that serves it
HOSTS = "hosts.map"  # a host name to the app that it leads to
TIMEOUTS = "timeouts.map"  # an app's name to the milliseconds that it may let a client wait
STICKY = "sticky.map"  # the names of the apps that keep a browser on one replica
PRIVATE = "private.map"  # the names of the apps that answer only those who send a key
KEYS = "keys.map"  # the SHA-256 of a key to the name of its owner
FILES = (APPS, HOSTS, TIMEOUTS, STICKY, PRIVATE, KEYS)  # HAProxy goes by these

# HAProxy does not know these: they are for the activator alone.
WAITS = "waits.map"  # an app's name to the milliseconds that a request may wait for a replica of it
REASONS = "reasons.map"  # an app's name to why there is no replica of it
FOR_ACTIVATOR = (WAITS, REASONS)

STOPPED = "stopped"  # stands in the map for an app without a backend
COMING = "coming"  # stands there for one that is to have a backend; names the backend where its requests wait
ACTIVATOR = "act"  # the activator's name in each backend
_YES = "yes"


def backend_name(backend: int) -> str:
    """A backend's name in HAProxy."""
    return f"b{backend}"


def backend_number(name: str) -> int:
    """The backend of a name in HAProxy."""
    return int(name.removeprefix("b"))


def slot_name(slot: int) -> str:
    """A slot's name in its backend."""
    return f"s{slot}"


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
        WAITS: {app: str(wait) for app, wait in state.waits.items()},
        REASONS: {app: quote(reason) for app, reason in state.reasons.items()},
    }


def render(state: IngressState) -> dict[str, str]:
    """The texts of the map files, by file name."""
    return {
        file: "".join(f"{key} {value}\n" for key, value in sorted(content.items()))
        for file, content in entries(state).items()
    }


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
        waits={app: int(value) for app, value in content.get(WAITS, {}).items() if app in apps},
        reasons={app: unquote(value) for app, value in content.get(REASONS, {}).items() if app in apps},
        coming=frozenset(app for app, word in words.items() if word == COMING),
    )
