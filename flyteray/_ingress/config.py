"""The whole configuration of HAProxy, from what it is to do.

The files always hold the complete state, so HAProxy serves at once after a restart. Between restarts the same
state is reached through the runtime API (see :mod:`flyteray._ingress.changes`), never by a reload. All paths are
relative: HAProxy runs in the directory that holds them.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteray._ingress import maps
from flyteray._ingress.routes import POOL, SLOTS, IngressState, Slot
from flyteray._ingress.supervisor import ADMIN_SOCKET, CONFIG_FILE, LISTENER

ACTIVATOR_SOCKET = "act.sock"

_NOT_NAMED = (
    "This address names no app. Use http://<app>.localhost:<port>/ or http://<host>:<port>/<app>/; "
    "'flyteray get app' lists the apps.\\n"
)
_UNKNOWN = "There is no app named '%[var(txn.app)]'. 'flyteray get app' lists the apps.\\n"
_NO_KEY = (
    "App '%[var(txn.app)]' asks for a key: send the header 'Authorization: Bearer KEY'. "
    "'flyteray create key NAME' makes one.\\n"
)
_WRONG_KEY = (
    "App '%[var(txn.app)]' asks for a key, and the one that was sent is not or no longer right. "
    "'flyteray get key' lists those that are, 'flyteray create key NAME' makes one.\\n"
)
_STOPPED = "App '%[var(txn.app)]' is stopped. 'flyteray serve' starts it again.\\n"


def not_ready(app: str, reason: str | None = None) -> str:
    """What is said when nobody can answer for an app, and why where that is known."""
    told = f" ({reason})" if reason else ""
    return (
        f"App '{app}' has no replica ready to answer{told}. 'flyteray get app {app}' says "
        f"{'more' if reason else 'why'}; try again in a moment."
    )


_ERRORS = {
    400: "The request is not valid HTTP.\\n",
    408: "The request did not arrive in time.\\n",
    500: "The ingress could not handle the request.\\n",
    502: "App '%[var(txn.app)]' broke the connection before it answered, or its answer is not valid HTTP.\\n",
    503: not_ready("%[var(txn.app)]") + "\\n",
    504: (
        "App '%[var(txn.app)]' did not answer within the %[var(txn.timeout)] ms that it may take. "
        "Its AppEnvironment(timeouts=Timeouts(request=...)) allows more, up to an hour.\\n"
    ),
}

# Connections that become idle once a replica stops are closed within seconds: one that is open then is a request.
_CHECK = (
    "check inter 1s fastinter 200ms downinter 500ms fall 2 rise 1 observe layer4 error-limit 2 "
    "pool-purge-delay 500ms on-error mark-down"
)

_GLOBAL = """\
global
    stats socket unix@{admin} mode 600 level admin
    stats timeout 1m
    nbthread {threads}
    maxconn {connections}
    # where few file descriptors are allowed it serves fewer connections instead of refusing to start
    no strict-limits

defaults
    mode http
    # a retry waits as long as a connection may take, at most a second: so long is a request delayed by a dead replica
    timeout connect 200ms
    timeout client 1h
    # for apps that set no other; it is the longest silence of a replica, before its answer and within it
    timeout server 1h
    # a WebSocket, from when it was opened
    timeout tunnel 24h
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout queue 60s
    # a replica that dies with a request, two attempts at its port, then the activator's handing on
    retries 4
    retry-on conn-failure empty-response
    option redispatch 1
    option http-no-delay
    # a client that leaves is a client that leaves: the replica learns it at once
    option abortonclose
    http-reuse always
    balance leastconn
{errors}
"""

_FRONTEND = """\
frontend apps
    bind "fd@${{{listener}}}"
    # tells the activator what a request is about
    unique-id-format "%[var(txn.backend)] %[var(txn.app)]"
    # without it a client can send a request on a connection that closes at that moment
    option idle-close-on-response

    # only what the ingress says of the client may be believed; some servers read '_' as '-'
    http-request del-header x-forwarded- -m beg
    http-request del-header x_forwarded_ -m beg
    http-request del-header x-flyteray- -m beg
    http-request del-header x_flyteray_ -m beg
    http-request del-header forwarded
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)] if {{ req.hdr(host) -m found }}

    http-request set-var(txn.host) req.hdr(host),host_only,lower
    http-request set-var(txn.app) var(txn.host),map_str({hosts})
    acl known_host var(txn.app) -m found
    acl own_host var(txn.host) -m end .localhost
    http-request set-var(txn.by_host) bool(true) if known_host || own_host
    acl by_host var(txn.by_host) -m found
    http-request set-var(txn.app) var(txn.host),field(-2,.,0) if by_host !known_host
    http-request set-var(txn.app) path,field(2,/) unless by_host
    http-request set-var(txn.backend) var(txn.app),map_str({apps})
    http-request set-var(txn.timeout) var(txn.app),map_str_int({timeouts},3600000)
    http-request return status 404 {text} lf-string "{not_named}" if {{ var(txn.app) -m len 0 }}
    http-request return status 404 {text} lf-string "{unknown}" unless {{ var(txn.backend) -m found }}

    # whose key it is; one that is missing or wrong has no owner
    http-request set-var(txn.user) http_auth_bearer,sha2(256),hex,lower,map_str({keys})
    acl private var(txn.app),map_str({private}) -m found
    acl known_user var(txn.user) -m found
    acl any_key http_auth_bearer -m found
    http-request return status 401 {text} {bearer} lf-string "{wrong_key}" if private any_key !known_user
    http-request return status 401 {text} {bearer} lf-string "{no_key}" if private !known_user
    http-request set-header X-Flyteray-User %[var(txn.user)] if known_user

    http-request return status 503 {text} lf-string "{stopped}" if {{ var(txn.backend) -m str {stopped_word} }}

    # what a page names without a slash in front is beside it only if its own path ends in one
    acl page req.hdr(accept) -m sub text/html
    acl bare path_reg ^/[^/]+$
    acl asks query -m len 1:
    http-request redirect code 302 location %[path]/?%[query] if METH_GET page bare !by_host asks
    http-request redirect code 302 location %[path]/ if METH_GET page bare !by_host !asks
    http-request set-header X-Forwarded-Prefix /%[var(txn.app)] unless by_host
    http-request set-path /%[path,field(3,/,0)] unless by_host
    # a replica may have acted on it before it died
    http-request disable-l7-retry unless METH_GET or {{ method OPTIONS }}
    use_backend %[var(txn.backend)]
"""

_BACKEND = """\
    http-request set-timeout server var(txn.timeout)
    # which replica a browser keeps to: a name for each backend, so that apps on one host do not take each other's
    cookie flyteray-{backend} insert indirect nocache httponly dynamic
    dynamic-cookie-key flyteray
    ignore-persist unless {{ var(txn.app),map_str({sticky}) -m found }}"""

# it takes what no replica can; each of its requests has a connection of its own
_ACTIVATOR = (
    f"    server {maps.ACTIVATOR} unix@{ACTIVATOR_SOCKET} {{role}}pool-max-conn 0 send-proxy-v2 "
    "proxy-v2-options unique-id"
)

_COMING = f"""\
backend {maps.COMING}
    http-request set-timeout server var(txn.timeout)
{_ACTIVATOR.format(role="")}
"""

_MOST_CONNECTIONS = 16384  # memory for descriptors is taken ahead
_TEXT = 'content-type "text/plain; charset=utf-8"'


def connections(open_files: int) -> int:
    """How many client connections to allow where a process may have ``open_files`` files open.

    Each takes two descriptors, one to the client and one to the replica, and each slot one for its checks.
    -1 stands for no limit.
    """
    if open_files < 0:
        return _MOST_CONNECTIONS
    return max(256, min(_MOST_CONNECTIONS, (open_files - POOL * SLOTS - 256) // 2))


def threads(cpus: int) -> int:
    """How many threads to use on ``cpus`` cores: more than there are cores, or than four, cost more than they bring."""
    return max(1, min(4, cpus))


def render(state: IngressState, *, threads: int, connections: int) -> str:
    """HAProxy's configuration file for a state."""
    errors = "\n".join(
        f'    http-error status {status} {_TEXT} lf-string "{text}"'
        + (" hdr Retry-After 1" if status == 503 else "")
        for status, text in _ERRORS.items()
    )
    head = _GLOBAL.format(admin=ADMIN_SOCKET, threads=threads, connections=connections, errors=errors)
    frontend = _FRONTEND.format(
        listener=LISTENER,
        apps=maps.APPS,
        hosts=maps.HOSTS,
        timeouts=maps.TIMEOUTS,
        private=maps.PRIVATE,
        keys=maps.KEYS,
        bearer="hdr WWW-Authenticate Bearer",
        no_key=_NO_KEY,
        wrong_key=_WRONG_KEY,
        text=_TEXT,
        not_named=_NOT_NAMED,
        unknown=_UNKNOWN,
        stopped=_STOPPED,
        stopped_word=maps.STOPPED,
    )
    backends = [_backend(number, state.slots(number)) for number in range(POOL)]
    return "\n".join([head, frontend, _COMING, *backends])


def files(state: IngressState, *, threads: int, connections: int) -> dict[str, str]:
    """All files that HAProxy reads when it starts, by file name."""
    return {CONFIG_FILE: render(state, threads=threads, connections=connections), **maps.render(state)}


def _backend(number: int, slots: Mapping[int, Slot]) -> str:
    name = maps.backend_name(number)
    lines = [f"backend {name}", _BACKEND.format(backend=name, sticky=maps.STICKY)]
    free = 1
    for slot in sorted(slots):
        lines += _unused(free, slot - 1)
        lines.append(f"    server {maps.slot_name(slot)} {_address(slots[slot])} {_CHECK}")
        free = slot + 1
    lines += _unused(free, SLOTS)
    lines.append(_ACTIVATOR.format(role="backup "))
    return "\n".join(lines) + "\n"


def _unused(first: int, last: int) -> list[str]:
    return [f"    server-template s {first}-{last} 127.0.0.1:1 {_CHECK} disabled"] if first <= last else []


def _address(slot: Slot) -> str:
    return f"[{slot.host}]:{slot.port}" if ":" in slot.host else f"{slot.host}:{slot.port}"
