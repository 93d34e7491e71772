"""The configuration of HAProxy is written whole, of the state that it is to be in.

The files always hold the complete state, so HAProxy serves at once after a restart. Between restarts the same
state is reached through the runtime API (see :mod:`flyteray._ingress.changes`); what that can't do, more backends and
another certificate, takes a reload. No limit is set on the processes that reloads leave behind, as it would cut what is
open at them; they are few, since the backends double. All paths are relative: HAProxy runs in the directory that holds
them.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteray._ingress import trusted_proxies
from flyteray._ingress.haproxy import answers, maps, prefix
from flyteray._ingress.haproxy.supervisor import ADMIN_SOCKET, LISTENER, PEERS_LISTENER
from flyteray._ingress.routes import Slot
from flyteray._ingress.trusted_proxies import NOBODY, Trust

ACTIVATOR_SOCKET = "act.sock"
_GLOBAL = """\
global
    stats socket unix@{admin} mode 600 level admin
    stats timeout 1m
    nbthread {threads}
    maxconn {connections}
    # a request takes two to four such buffers while it is worked on, an idle connection none
    tune.bufsize {buffer}
    tune.maxrewrite 2048
    tune.http.maxhdr {lines}
    lua-load {broken}
    # where few file descriptors are allowed it serves fewer connections instead of refusing to start
    no strict-limits

defaults
    mode http
    # A retry waits as long as a connection may take, at most a second: so long is a request delayed by a dead replica.
    # Shorter is too short for the handshakes of a crowd that comes at once for a replica on another node.
    timeout connect 500ms
    timeout client 1h
    # for apps that set no other; it is the longest silence of a replica, before its answer and within it
    timeout server 1h
    # a WebSocket, from when it was opened
    timeout tunnel 24h
    timeout http-request 10s
    timeout http-keep-alive 75s
    timeout queue 60s
    timeout check 1500ms
    # a replica that dies with a request, two attempts at its port, then the activator's handing on; how often a
    # request reaches an app is counted in the backends
    retries 4
    retry-on conn-failure empty-response
    option redispatch 1
    option http-no-delay
    # a node that is silent is found out while a request waits for it
    option srvtcpka
    srvtcpka-idle 1s
    srvtcpka-intvl 1s
    srvtcpka-cnt 1
    # a client that leaves is a client that leaves: the replica learns it at once
    option abortonclose
    http-reuse always
    # also of a request that is sent once more, which a name in TLS is not
    http-send-name-header {chosen}
    balance leastconn
"""

_FRONTEND = """\
frontend apps
    # a connection's first bytes are looked at before HAProxy reads HTTP, which has one answer to all it can't read
    mode tcp
    bind "fd@${{{listener}}}"
    tcp-request inspect-delay 10s
    tcp-request content accept if {{ internal.strm.is_htx }}
    acl head_ends req.payload(0,0) -m sub "\\n\\r\\n" "\\n\\n"
    tcp-request content switch-mode http if head_ends
    tcp-request content lua.too_large if {{ req.len gt {most} }}
    tcp-request content switch-mode http
    # tells the activator what a request is about
    unique-id-format "%[var(txn.backend)] %[var(txn.app)]"
    # without it a client can send a request on a connection that closes at that moment
    option idle-close-on-response
{errors}

{bodies}
{trust}
    # some programs would take the whole for the path
    http-request set-uri %[pathq] unless {{ url_beg / * }}

{noticed}
{limits}

    http-request set-var(txn.host) req.hdr(host),host_only,lower
    http-request set-var(txn.app) var(txn.host),map_str({hosts})
    acl known_host var(txn.app) -m found
    acl own_host var(txn.host) -m end .localhost
{external}
    http-request set-var(txn.by_host) bool(true) if known_host || own_host
    acl by_host var(txn.by_host) -m found
    http-request set-var(txn.app) var(txn.host),field(-2,.,0) if by_host !known_host
    http-request set-var(txn.app) path,field(2,/) unless by_host
    http-request set-var(txn.backend) var(txn.app),map_str({apps})
    http-request set-var(txn.timeout) var(txn.app),map_str_int({timeouts},3600000)
{not_named}
{unknown}

    # whose key it is; one that is missing or wrong has no owner
    http-request set-var(txn.user) http_auth_bearer,sha2(256),hex,lower,map_str({keys})
    acl private var(txn.app),map_str({private}) -m found
    acl known_user var(txn.user) -m found
    acl any_key http_auth_bearer -m found
{wrong_key}
{no_key}
    http-request set-header X-Flyteray-User %[var(txn.user)] if known_user

{stopped}

    # what a page names without a slash in front is beside it only if its own path ends in one
    acl page req.hdr(accept) -m sub text/html
    acl bare path_reg ^/[^/]+$
    acl asks query -m len 1:
    http-request redirect code 302 location %[path]/?%[query] if METH_GET page bare !by_host asks
    http-request redirect code 302 location %[path]/ if METH_GET page bare !by_host !asks
    http-request set-var-fmt(txn.prefix) /%[var(txn.app)] unless by_host
    http-request set-header X-Forwarded-Prefix %[var(txn.prefix)] unless by_host
    http-request set-path /%[path,field(3,/,0)] unless by_host

{repeats}
    # replicas of this node come first while they have few requests, then those that have fewest
{near}
    http-request track-sc0 var(txn.backend) table {in_flight} if is_near
    http-request set-var(txn.taken) sc0_conn_cur if is_near
    http-request set-var(txn.room) var(txn.near),mul({few}),sub(txn.taken) if is_near
    http-request unset-var(txn.server) if is_near !{{ var(txn.room) -m int gt 0 }}
    # What comes after a body in chunks is not for the apps: some take it for headers. A body that is there is given its
    # length, so that nothing can come after it; the activator lets the others through without.
    http-request set-header Content-Length %[req.body_size] if length_less whole
    http-request del-header Transfer-Encoding if length_less whole
    http-request unset-var(txn.chunks) if length_less whole
    use_backend %[var(txn.backend)]

{prefix}
{readable}"""

# what comes after the headers, and what may be sent once more
_BODIES = """\
    # whether anything comes after the headers, in every version of HTTP; what switches protocols has no body
    acl sized req.hdr(content-length) -m found
    acl length req.hdr(content-length) -m int gt 0
    acl encoded req.hdr(transfer-encoding) -m found
    acl whole internal.htx.has_eom
    acl headers_only internal.htx_blk.type(tail) -m str HTX_BLK_EOH
    acl switches req.hdr(upgrade) -m found
    acl length_less var(txn.chunks) -m found
    http-request set-var(txn.chunks) bool(true) if encoded || !sized !whole !switches || !sized !headers_only !switches
    http-request set-var(txn.bodied) bool(true) if length || length_less
    acl bodied var(txn.bodied) -m found
"""

_REPEATS = """\
    # a replica may have acted on it before it died; only what HTTP calls safe may be sent once more
    http-request set-var(txn.safe) bool(true) if METH_GET !bodied || METH_OPTIONS !bodied
    http-request disable-l7-retry unless { var(txn.safe) -m found }
    http-request set-var(txn.since) date(0,ms)
"""

# one of the replicas of this node, by chance
_NEAR = f"""\
    http-request set-var(txn.near) var(txn.backend),map_str({maps.NEAR}),add(0)
    acl is_near var(txn.near) -m found
    http-request set-var(txn.turn) rand(5040),mod(txn.near) if is_near
    http-request set-var-fmt(txn.turn) %[var(txn.backend)].%[var(txn.turn)] if is_near
    http-request set-var(txn.server) var(txn.turn),map_str({maps.NEAR}) if is_near
"""

# What other ingresses of the cluster send: they have looked at it, and name the replica in a header. One stands for all
# of this node, unless a browser keeps to it. Where no replica answers, nothing does: this node may be dying, and the
# ingress that asked knows others.
_PEERS = """\
frontend peers
{bind}
    unique-id-format "%[var(txn.backend)] %[var(txn.app)]"
    option idle-close-on-response
{errors}
    errorfile 502 /dev/null
    errorfile 503 /dev/null
{bodies}
    http-request set-var(txn.asked_by_peer) bool(true)
    http-request set-var(txn.reached) bool(true)
    acl asks_json req.hdr(accept) -m reg -i '{asks_json}'
    http-request set-var-fmt(txn.open) '{{"error": "' if asks_json
    http-request set-var-fmt(txn.close) '"}}' if asks_json
    http-request set-var(txn.backend) req.hdr({chosen}),field(1,-)
    http-request set-var(txn.app) var(txn.backend),map_str({owners})
{near}
    acl sticky var(txn.app),map_str({sticky}) -m found
    http-request set-var(txn.server) req.hdr({chosen}),field(2,-) if sticky
    http-request set-var(txn.timeout) var(txn.app),map_str_int({timeouts},3600000)
    http-request reject unless {{ var(txn.app) -m found }}
{repeats}
    use_backend %[var(txn.backend)]
"""

_BACKEND = """\
    # a replica that ends without an answer has had the request: a safe one goes to one more
    tcp-response inspect-delay 24d
    acl answers status -m found
    acl hands_on srv_name {activator}
    acl safe var(txn.safe) -m found
    acl was_there var(txn.reached) -m found
    acl late var(txn.now),sub(txn.since),sub(txn.timeout) ge 0
    tcp-response content accept if answers || hands_on
    tcp-response content set-var(txn.now) date(0,ms)
    # its time is up; told here where the body may have taken that time, and the replica may have ended
    tcp-response content lua.late if late {{ var(txn.bodied) -m found }}
    tcp-response content accept if late
    tcp-response content lua.broken if !safe || was_there
    tcp-response content set-var(txn.reached) bool(true)
    http-request set-timeout server var(txn.timeout)
    # which replica a browser keeps to: a name for each backend, so that apps on one host do not take each other's
    cookie flyteray-{backend} insert indirect nocache httponly
    ignore-persist unless {{ var(txn.app),map_str({sticky}) -m found }}
    use-server {activator} if {{ var(txn.chunks) -m found }}
    use-server %[var(txn.server)] if {{ var(txn.server) -m found }}"""

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
_IN_FLIGHT = "in_flight"  # counts the requests that are open at each backend
_FEW = 8  # requests at a time for each replica of this node, before those of other nodes count as much
_OTHER_FILES = 4096  # of checks, idle connections, HAProxy itself
BROKEN_FILE = "broken.lua"


def connections(open_files: int) -> int:
    """How many client connections to allow where a process may have ``open_files`` files open.

    Each takes two descriptors, one to the client and one to the replica; replicas take one for their checks.
    -1 stands for no limit.
    """
    if open_files < 0:
        return _MOST_CONNECTIONS
    return max(256, min(_MOST_CONNECTIONS, (open_files - _OTHER_FILES) // 2))


def threads(cpus: int) -> int:
    """How many threads to use on ``cpus`` cores: more than there are cores, or than four, cost more than they bring."""
    return max(1, min(4, cpus))


def frame(*, threads: int, connections: int, trust: Trust = NOBODY, peers: bool = False) -> str:
    """What the configuration says whatever the state is; the sections of the backends follow."""
    head = _GLOBAL.format(
        admin=ADMIN_SOCKET,
        chosen=maps.CHOSEN,
        threads=threads,
        connections=connections,
        buffer=answers.LARGEST_HEAD,
        lines=answers.MOST_HEADERS,
        broken=BROKEN_FILE,
    )
    frontend = _FRONTEND.format(
        listener=LISTENER,
        most=answers.LARGEST_HEAD - 4096,
        apps=maps.APPS,
        hosts=maps.HOSTS,
        timeouts=maps.TIMEOUTS,
        private=maps.PRIVATE,
        keys=maps.KEYS,
        errors=answers.errors(),
        bodies=_BODIES,
        repeats=_REPEATS,
        near=_NEAR,
        in_flight=_IN_FLIGHT,
        few=_FEW,
        trust=trusted_proxies.rules(trust),
        external=trusted_proxies.external_host(maps.HOSTS) if trust.proxies else "",
        noticed=answers.NOTICED,
        limits=answers.LIMITS,
        not_named=answers.NOT_NAMED,
        unknown=answers.UNKNOWN,
        no_key=answers.NO_KEY,
        wrong_key=answers.WRONG_KEY,
        stopped=answers.STOPPED.format(stopped=maps.STOPPED),
        prefix=prefix.rules(maps.APPS),
        readable=answers.READABLE,
    )
    counted = f"backend {_IN_FLIGHT}\n    stick-table type string len 16 size 10k store conn_cur\n"
    return "\n".join([head, frontend, _peers(bound=peers), counted, _COMING])


def _peers(bound: bool) -> str:
    certificates = f"crt {maps.PEER_FILE} ca-file {maps.CA_FILE} verify required ssl-min-ver TLSv1.3"
    bind = f'    bind "fd@${{{PEERS_LISTENER}}}" ssl {certificates} alpn http/1.1'
    return _PEERS.format(
        bind=bind if bound else "    # nobody comes here before the certificate does",
        errors=answers.errors(),
        bodies=_BODIES,
        asks_json=answers.ASKS_JSON,
        chosen=maps.CHOSEN,
        owners=maps.OWNERS,
        near=_NEAR,
        sticky=maps.STICKY,
        timeouts=maps.TIMEOUTS,
        repeats=_REPEATS,
    )


def section(number: int, slots: Mapping[int, Slot]) -> str:
    """A backend with its replicas."""
    name = maps.backend_name(number)
    lines = [f"backend {name}", _BACKEND.format(backend=name, sticky=maps.STICKY, activator=maps.ACTIVATOR)]
    for slot, at in sorted(slots.items()):
        host = f"[{at.host}]" if ":" in at.host else at.host
        lines.append(f"    server {maps.server_name(number, slot)} {host}:{at.port} {maps.options(slot)}")
    lines.append(_ACTIVATOR.format(role="backup "))
    return "\n".join(lines) + "\n"
