"""The configuration of HAProxy is written whole, of the state that it is to be in.

The files always hold the complete state, so HAProxy serves at once after a restart. Between restarts the same
state is reached through the runtime API (see :mod:`flyteray._ingress.changes`); what that can't do, more backends and
another certificate, takes a reload. No limit is set on the processes that reloads leave behind, as it would cut what is
open at them; they are few, since the backends double. All paths are relative: HAProxy runs in the directory that holds
them.

A rule costs each request that passes it a tenth of a microsecond, so those of the frontend end early (``allow``): first
what is noted of all requests, then what only some apps ask for, last what few have. What the ingress answers by itself
is led to a backend that says it. What is done with all that is handed on stands in the section ``of_apps``, which the
backends of apps share.

A worker that begins may not know all by its files: it is told what changed meanwhile, or all where nothing is known
yet. Until then its requests wait.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteray._ingress import trusted_proxies
from flyteray._ingress.copies import marks
from flyteray._ingress.copies import rules as copies
from flyteray._ingress.entry.hosts import ALL, Hosts
from flyteray._ingress.haproxy import answers, entry, limits, maps, prefix, shares
from flyteray._ingress.haproxy import tls as for_clients
from flyteray._ingress.haproxy.login import rules as login
from flyteray._ingress.haproxy.supervisor import ADMIN_SOCKET, LISTENER, PEERS_LISTENER
from flyteray._ingress.routes import Slot
from flyteray._ingress.seen import lines
from flyteray._ingress.trusted_proxies import NOBODY, Trust
from flyteray._settings import Tls
from flyteray._traces.asked import Sampling

ACTIVATOR_SOCKET = "act.sock"
OWN_SOCKET = "own.sock"
_GLOBAL = """\
global
    stats socket unix@{admin} mode 600 level admin
    stats timeout 1m
    nbthread {threads}
    maxconn {connections}
    tune.stick-counters 5
    # a request takes two to four such buffers while it is worked on, an idle connection none
    tune.bufsize {buffer}
    # of its own memory that it keeps at hand, each thread can have six of these buffers unless told otherwise
    tune.memory.hot-size 4194304
    tune.maxrewrite 2048
    tune.http.maxhdr {lines}
    lua-load {lua}
    # where few file descriptors are allowed it serves fewer connections instead of refusing to start
    no strict-limits
"""

_DEFAULTS = """\
defaults {name}
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
{leaving}
    http-reuse always
    # also of a request that is sent once more, which a name in TLS is not
    http-send-name-header {chosen}
    balance leastconn
"""

_FRONTEND = """\
frontend {frontend}
{binds}
{addresses}
{first_bytes}
    # tells the activator what a request is about
    unique-id-format "%[var(txn.backend)] %[var(txn.app)]"
    # without it a client can send a request on a connection that closes at that moment
    option idle-close-on-response
{until_told}
{seen}
{errors}

{bodies}
{asked}
{trust}
    # some programs would take the whole for the path
    http-request set-uri %[pathq] unless {{ url_beg / * }}

{noticed}
{limits}
{only_tls}

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

{hosts_answered}
{plain}

    http-request allow unless {{ var(txn.backend) -m found }}
{pages}
{keys}

{limits_of_apps}

    # which version is asked, and which replica
    http-request allow if !shared !asks_version !spread !page || {{ var(txn.backend) -m str {stopped} }}
{chosen}
{no_version}

    # what a page names without a slash in front is beside it only if its own path ends in one
    acl bare path_reg ^/[^/]+$
    acl asks query -m len 1:
    http-request redirect code 302 location %[path]/?%[query] if METH_GET page bare !by_host asks
    http-request redirect code 302 location %[path]/ if METH_GET page bare !by_host !asks

    # replicas of this node come first while they have few requests, then those that have fewest
{near}
    http-request track-sc0 var(txn.backend) table {in_flight} if is_near
    acl near_crowd var(txn.backend),map_str({crowds}),field(1,/) -m int lt {few}
    http-request set-var(req.taken) sc0_conn_cur if is_near
    http-request set-var(req.few) int({few}) if is_near
    http-request set-var(req.few) var(txn.backend),map_str({crowds}),field(1,/),add(0) if is_near near_crowd
    http-request set-var(req.room) var(req.near),mul(req.few),sub(req.taken) if is_near
    http-request unset-var(txn.server) if is_near !{{ var(req.room) -m int gt 0 }}
    use_backend %[var(txn.backend)]
    default_backend {unknown}

{told}
{answered}
{readable}
{prefix}
"""

# Most requests are told from all others by this, and are looked at no further: their apps ask for nothing that is a
# matter of the rules which follow, and neither do they.
_IS_PLAIN = "!private !limited !shared !spread !asks_version !has_key !has_login !switches of_app"
_PLAIN = f"""\
    http-request set-var(req.asks) var(txn.app),map_str({maps.PRIVATE})
    acl private var(req.asks) -m found
    http-request set-var(req.limits) var(txn.app),map_str({maps.LIMITS})
    acl limited var(req.limits) -m found
    http-request set-var(txn.sticks) var(txn.app),map_str({maps.SHARES})
    acl shared var(txn.sticks) -m found
    acl of_app var(txn.backend) -m beg b
    acl spread var(txn.backend),map_str({maps.NEAR}) -m found
    acl has_key req.hdr(authorization) -m found
{login.HAS_LOGIN}
    acl page req.hdr(accept) -m sub text/html
    http-request allow if by_host {_IS_PLAIN} || named_host !page {_IS_PLAIN}
"""

_PATIENCE_S = 3  # for the rest, since who would tell it may have ended; what was read is true enough then
_FIRST_PATIENCE_S = 10  # of each client, where nothing is known: the answer is that
_UNTIL_TOLD = (
    f"    http-request lua.until_told {{patience}} unless {{{{ str(all),map_str({maps.TOLD}) -m str yes }}}}"
)

UNTIL_TOLD = f"""\
-- Requests of a worker that has just begun wait until it is told all, but not for ever.
local told, ends = Map.new("{maps.TOLD}", Map._str), nil

local function now()
  local time = core.now()
  return time.sec + time.usec / 1e6
end

core.register_action("until_told", {{"http-req"}}, function(txn, patience)
  local came = now()
  while true do
    local knows = told:lookup("all")
    if knows == "yes" then return end
    if knows == "{maps.NOTHING}" then
      if now() - came >= tonumber(patience) then return end
      core.msleep(20)
    else
      ends = ends or now() + {_PATIENCE_S}
      if now() > ends then core.set_map("{maps.TOLD}", "all", "yes") end
      core.msleep(2)
    end
  end
end, 1)
"""
"""The Lua for that rule."""

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

# one of the replicas of this node, by chance
_NEAR = f"""\
    http-request set-var(req.near) var(txn.backend),map_str({maps.NEAR}),add(0)
    acl is_near var(req.near) -m found
    http-request set-var(req.turn) rand(5040),mod(req.near) if is_near
    http-request set-var-fmt(req.turn) %[var(txn.backend)].%[var(req.turn)] if is_near
    http-request set-var(txn.server) var(req.turn),map_str({maps.NEAR}) if is_near
"""

# What other ingresses of the cluster send: they have looked at it, and name the replica in a header. One stands for all
# of this node, unless a browser keeps to it. Where no replica answers, nothing does: this node may be dying, and the
# ingress that asked knows others.
_PEERS = """\
frontend peers
{bind}
    unique-id-format "%[var(txn.backend)] %[var(txn.app)] %[var(txn.is_copy)]"
    option idle-close-on-response
{until_told}
{errors}
    errorfile 502 /dev/null
    errorfile 503 /dev/null
{bodies}
{served}
    http-request set-var(txn.asked_by_peer) bool(true)
    http-request set-var(txn.is_copy) str({copy}) if {{ req.hdr({shadow}) -m found }}
    # that one has taken the app's name from the path
    http-request set-var(txn.by_host) bool(true)
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
    http-request set-var(txn.rank) req.hdr({rank})
    acl ranked var(txn.rank) -m found
{ranked}
    http-request reject unless {{ var(txn.app) -m found }}
    use_backend %[var(txn.backend)]
"""

# TCP does not tell who has left from who has only said all that he has to say.
_LEFT = """\
    # a client that closes its side has left: the replica learns it at once
    option abortonclose"""
_LISTENS = """\
    # a client that closes its side may wait for its answer; one that is gone is known when its machine says so
    option clitcpka
    clitcpka-idle 5s
    clitcpka-intvl 5s
    clitcpka-cnt 3"""

# What is looked at before HAProxy reads HTTP, which has one answer to all it can't read. A client that has closed its
# side is taken for gone there.
_FIRST_BYTES = f"""\
    mode tcp
    tcp-request inspect-delay 10s
    tcp-request content accept if {{ internal.strm.is_htx }}
    acl head_ends req.payload(0,0) -m sub "\\n\\r\\n" "\\n\\n"
    tcp-request content switch-mode http if head_ends
    tcp-request content lua.too_large if {{ req.len gt {answers.LARGEST_HEAD - 4096} }}
    tcp-request content switch-mode http"""

_PATH = """\
    # the app's name is taken from a path that begins with it
    acl by_host var(txn.by_host) -m found
    http-request set-var-fmt(txn.prefix) /%[var(txn.app)] unless by_host
    http-request set-header X-Forwarded-Prefix %[var(txn.prefix)] unless by_host
    http-request set-path /%[path,field(3,/,0)] unless by_host
"""

# What the backends of all apps say. It stands in one section, not in thousands: HAProxy reads and keeps it once.
_OF_APPS = f"""\
{_PATH}
    # a replica may have acted on it before it died; only what HTTP calls safe may be sent once more
    acl bodied var(txn.bodied) -m found
    acl safe var(txn.safe) -m found
    http-request set-var(txn.safe) bool(true) if METH_GET !bodied || METH_OPTIONS !bodied
    http-request disable-l7-retry unless safe
    http-request set-var(txn.since) date(0,us)
    http-request set-timeout server var(txn.timeout)

    # What speaks HTTP/2 is given a body as it comes: it may have no end before there is an answer.
    acl length_less var(txn.chunks) -m found
    http-request unset-var(txn.chunks) if length_less {{ var(txn.backend),map_str({maps.HTTP2}) -m found }}
    # What comes after a body in chunks is not for the apps: some take it for headers. A body that is there is given its
    # length, so that nothing can come after it; the activator lets the others through without.
    acl whole internal.htx.has_eom
    http-request set-header Content-Length %[req.body_size] if length_less whole
    http-request del-header Transfer-Encoding if length_less whole
    http-request unset-var(txn.chunks) if length_less whole

{limits.CROWD}
{copies.COPIED}
"""

# What HAProxy 2.8 does not go by in such a section. The cookie tells which replica a browser keeps to; its name is
# another one in each backend, so that apps on one host do not take each other's.
_BACKEND = f"""\
backend {{backend}}
    # a replica that ends without an answer has had the request: a safe one goes to one more
    tcp-response inspect-delay 24d
    acl answers status -m found
    acl hands_on srv_name {" ".join(maps.ACTIVATORS)}
    acl safe var(txn.safe) -m found
    acl bodied var(txn.bodied) -m found
    acl was_there var(txn.reached) -m found
    acl late var(txn.now),sub(txn.since),div(1000),sub(txn.timeout) ge 0
    tcp-response content accept if answers || hands_on
    tcp-response content set-var(txn.now) date(0,us)
    # its time is up; told here where the body may have taken that time, and the replica may have ended
    tcp-response content lua.late if late bodied
    tcp-response content accept if late
    tcp-response content lua.broken if !safe || was_there
    tcp-response content set-var(txn.reached) bool(true)
    cookie flyteray-{{backend}} insert indirect nocache httponly
    ignore-persist unless {{{{ var(txn.app),map_str({maps.STICKY}) -m found }}}}
    use-server {maps.ACTIVATOR} if {{{{ var(txn.chunks) -m found }}}}
    use-server %[var(txn.server)] if {{{{ var(txn.server) -m found }}}}"""

# it takes what no replica can; each of its requests has a connection of its own
_ACTIVATOR = (
    f"    server {maps.ACTIVATOR} unix@{ACTIVATOR_SOCKET} {{role}}pool-max-conn 0 send-proxy-v2 "
    "proxy-v2-options unique-id"
)
_ACTIVATOR_HTTP2 = (
    f"    server {maps.ACTIVATOR_HTTP2} unix@{ACTIVATOR_SOCKET} {{role}}proto h2 max-reuse 0 pool-max-conn 0 "
    "send-proxy-v2 proxy-v2-options unique-id"
)

_COMING = "".join(
    f"""\
backend {name}
{activator.format(role="")}

"""
    for name, activator in ((maps.COMING, _ACTIVATOR), (maps.COMING_HTTP2, _ACTIVATOR_HTTP2))
)

# what is served by flyteray._ingress.own_pages
_OWN = f"""\
backend {maps.OWN_PAGES}
    timeout server 30s
{_PATH}{answers.NO_OWN_PAGES}
    server {maps.OWN_PAGES} unix@{OWN_SOCKET}
"""

_MOST_CONNECTIONS = 16384  # memory for descriptors is taken ahead
_UNKNOWN = "unknown"  # names the backend for what names no app
_IN_FLIGHT = "in_flight"  # counts the requests that are open at each backend
# Who reads nothing for so long, or next to nothing, is given up.
_BIND = f'    bind "fd@${{{LISTENER}}}" tcp-ut 5m'
_FEW = 8  # requests at a time for each replica of this node, before those of other nodes count as much
_OTHER_FILES = 4096  # of checks, idle connections, HAProxy itself
LUA_FILE = "flyteray.lua"


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


def frame(
    *,
    threads: int,
    connections: int,
    trust: Trust = NOBODY,
    peers: bool = False,
    hosts: Hosts = ALL,
    logs: bool = False,
    half_closed: bool = False,
    tls: Tls | None = None,
    sampling: Sampling | None = None,
) -> str:
    """What the configuration says whatever the state is; the sections of the backends follow."""
    head = _GLOBAL.format(
        admin=ADMIN_SOCKET,
        threads=threads,
        connections=connections,
        buffer=answers.LARGEST_HEAD,
        lines=answers.MOST_HEADERS,
        lua=LUA_FILE,
    )
    leaving = _LISTENS if half_closed else _LEFT
    of_all, of_apps = (
        _DEFAULTS.format(name=name, chosen=maps.CHOSEN, leaving=leaving) for name in ("of_all", "of_apps")
    )
    frontend = _FRONTEND.format(
        frontend=maps.FRONTEND,
        binds=_binds(tls),
        first_bytes="" if half_closed else _FIRST_BYTES,
        apps=maps.APPS,
        hosts=maps.HOSTS,
        timeouts=maps.TIMEOUTS,
        addresses=entry.connections(connections // 2, trust),
        seen=lines.rules(trusted_proxies.client(trust), logs, sampling),
        hosts_answered=entry.hosts(hosts, trust, tls=tls is not None),
        plain=_PLAIN,
        pages=entry.PAGES,
        keys=entry.keys(trusted_proxies.client(trust)),
        answered=entry.ANSWERED,
        errors=answers.errors(),
        until_told=_UNTIL_TOLD.format(patience=_FIRST_PATIENCE_S),
        bodies=_BODIES,
        near=_NEAR,
        in_flight=_IN_FLIGHT,
        few=_FEW,
        crowds=maps.CROWDS,
        limits_of_apps=limits.rules(trusted_proxies.client(trust)),
        only_tls=for_clients.rules(bool(trust.proxies)) if tls else "",
        trust=trusted_proxies.rules(trust, tls=tls is not None),
        external=trusted_proxies.external_host(maps.HOSTS) if trust.proxies else "",
        noticed=answers.NOTICED,
        limits=answers.LIMITS,
        unknown=_UNKNOWN,
        stopped=maps.STOPPED,
        asked=shares.ASKED,
        chosen=shares.CHOSEN,
        told=shares.TOLD,
        no_version=answers.NO_VERSION,
        prefix=prefix.rules(maps.APPS),
        readable=answers.READABLE,
    )
    counted = f"backend {_IN_FLIGHT}\n    stick-table type string len 16 size 10k store conn_cur\n"
    sections = [
        head,
        of_all,
        frontend,
        _peers(bound=peers, logs=logs),
        copies.frontend(lines.rules("src", logs), _BODIES),
        counted,
        entry.TABLES,
        limits.TABLES,
        _OWN,
        answers.backend(_UNKNOWN, answers.UNKNOWN),
        answers.backend(maps.STOPPED, answers.STOPPED),
        entry.refused(trusted_proxies.client(trust)),
        entry.sign_in(trusted_proxies.client(trust)),
        of_apps + _OF_APPS,
        _COMING,
    ]
    return "\n".join(sections)


def _binds(tls: Tls | None) -> str:
    return "\n".join([_BIND, for_clients.bind(tls.clients is not None)] if tls else [_BIND])


def _peers(bound: bool, logs: bool) -> str:
    certificates = f"crt {maps.PEER_FILE} ca-file {maps.CA_FILE} verify required ssl-min-ver TLSv1.3"
    bind = f'    bind "fd@${{{PEERS_LISTENER}}}" ssl {certificates} alpn h2,http/1.1'
    return _PEERS.format(
        bind=bind if bound else "    # nobody comes here before the certificate does",
        errors=answers.errors(),
        until_told=_UNTIL_TOLD.format(patience=0),  # the ingress that asks knows others
        bodies=_BODIES,
        served=lines.peers_rules(logs),
        copy=marks.IS_COPY,
        shadow=copies.SHADOW_HEADER,
        asks_json=answers.ASKS_JSON,
        chosen=maps.CHOSEN,
        owners=maps.OWNERS,
        near=_NEAR,
        sticky=maps.STICKY,
        timeouts=maps.TIMEOUTS,
        rank=maps.RANK,
        ranked=limits.RANKED,
    )


def section(number: int, slots: Mapping[int, Slot], most: int, over_http2: bool) -> str:
    """A backend with its replicas, each of which takes so many requests at one time, or any number for 0.

    The activator, where no replica takes a request, is spoken to as the replicas are.
    """
    name = maps.backend_name(number)
    lines = [_BACKEND.format(backend=name)]
    for slot, at in sorted(slots.items()):
        host = f"[{at.host}]" if ":" in at.host else at.host
        lines.append(
            f"    server {maps.server_name(number, slot)} {host}:{at.port} {maps.options(slot, most)}"
        )
    lines.append(_ACTIVATOR.format(role="backup ") + (" disabled" if over_http2 else ""))
    lines.append(_ACTIVATOR_HTTP2.format(role="backup ") + ("" if over_http2 else " disabled"))
    return "\n".join(lines) + "\n"
