"""Answers of the ingress's own: their words, as text or JSON, readable by a page of any origin. No effects here."""

from __future__ import annotations

import re

from flyteray._declare.facts import ROLES
from flyteray._ingress.entry.pace import SLOWEST
from flyteray._ingress.haproxy import maps

LARGEST_HEAD = (
    80 << 10
)  # bytes of the first line and the headers of a request or an answer in HAProxy's memory
MOST_HEADERS = 1024  # header lines that HAProxy takes apart
REFUSED = "X-Flyteray-Refused"  # marks an answer of the activator's own
GRPC_STATUS = "grpc-status"

# The status of gRPC for one of HTTP, as clients have it that see the latter only.
_GRPC_ASKS = "METH_POST { var(txn.grpc) -m found }"
_GRPC = {401: 16, 403: 7, 404: 12, 413: 2, 421: 2, 426: 2, 429: 14, 431: 2, 502: 14, 503: 14, 504: 14}

_URL_LIMIT = 66 << 10
_HEADERS_LIMIT = 68 << 10
_LINES_LIMIT = 512

_MOST_OF_A_HEAD = 512 << 10  # that is read to tell its client that it is too large
_LONGEST_LINE = 1024  # of those that tell how
_TOO_LARGE = f"{_HEADERS_LIMIT >> 10} KB and {_LINES_LIMIT} headers"


_AGAIN = "Try again in a second."


def large_body(app: str, most: int | str) -> str:
    """What is said of a body that is larger than an app takes."""
    return f"The request's body has more than the {most} bytes that app '{app}' takes (body of its Limits)."


def queue_full(app: str) -> str:
    """What is said when an app has as much to do as it takes."""
    return (
        f"App '{app}' works on as many requests as it takes at one time, and as many as may wait do so (concurrency "
        f"and queue of its Limits). {_AGAIN}"
    )


def not_ready(app: str, reason: str | None = None) -> str:
    """What is said when nobody can answer for an app, and why where that is known."""
    told = f" ({reason})" if reason else ""
    return (
        f"App '{app}' has no replica ready to answer{told}. 'flyteray get app {app}' says "
        f"{'more' if reason else 'why'}; try again in a moment."
    )


_APP = "%[var(txn.app)]"
_HINT = "%[var(txn.hint)]"  # for who has signed in
_NOT_NAMED = (
    "This address names no app. Use http://<app>.localhost:<port>/ or http://<host>:<port>/<app>/; "
    "'flyteray get app' lists the apps."
)
_UNKNOWN = "There is no app named '%[var(txn.shown)]'. 'flyteray get app' lists the apps."
_UNKNOWN_TO_GRPC = (
    "There is no app named '%[var(txn.shown)]'. A channel names its app by its host, such as <app>.localhost:<port>, "
    "or by the option grpc.default_authority, such as <app>.localhost; 'flyteray get app' lists the apps."
)
_UNTOLD = (
    "This ingress has just been started and was not told yet which apps there are. If that lasts, the controller can't "
    "start: 'flyteray up' says why. Try again in a moment."
)
_NO_KEY = (
    f"App '{_APP}' asks for a key: send the header 'Authorization: Bearer KEY'. "
    "'flyteray create key NAME' makes one."
)
_NO_KEY_FOR_OWN = (
    "The ingress's own pages ask for a key: send the header 'Authorization: Bearer KEY'. "
    "'flyteray create key NAME' makes one."
)
_BARRED_FROM_OWN = (
    "The key '%[var(txn.user)]' is for some apps only, and the ingress's own pages tell of all. "
    "'flyteray create key NAME --role read' makes one that opens them."
)
_WRONG_KEY = (
    f"App '{_APP}' asks for a key, and the one that was sent is not or no longer right. "
    "'flyteray get key' lists those that are, 'flyteray create key NAME' makes one."
)
_ENDED_KEY = (
    f"App '{_APP}' asks for a key, and the time of the one that was sent, '%[var(req.key),field(1,/)]', is over. "
    "'flyteray create key NAME --expires 90d' makes one."
)
_BARRED_KEY = (
    f"The key '%[var(txn.user)]' is not for app '{_APP}': it was made for other apps. "
    f"'flyteray create key NAME --app {_APP}' makes one that is.{_HINT}"
)
_LOW_KEY = (
    f"App '{_APP}' asks for a key with the role '%[var(req.role)]' or a higher one for this, and the key "
    "'%[var(txn.user)]' has a lower one. 'flyteray create key NAME --role %[var(req.role)]' makes one."
    f"{_HINT}"
)
_FOREIGN_COOKIE = (
    f"App '{_APP}' lets in who has signed in where a page of its own host asks, and this request comes from "
    "'%[var(txn.shown)]'. Send a key in the header 'Authorization: Bearer KEY'."
)
_TOO_MANY_KEYS = (
    "Too many wrong keys came from this address. Wait some seconds; those that are right are let in."
)
_STOPPED = f"App '{_APP}' is stopped. 'flyteray serve' starts it again."
_NO_VERSION = (
    f"App '{_APP}' has no version of the name that is asked for, or that one is not up. "
    f"'flyteray get app {_APP} --versions' lists them."
)
_LONG_URL = (
    f"The URL is too long: the ingress takes up to {_URL_LIMIT >> 10} KB. Send what is long as a body."
)
_LARGE_HEAD = (
    f"The request's headers are too large or too many: the ingress takes up to {_TOO_LARGE}. "
    "Cookies count; a browser forgets them with the site's data."
)
_NO_HOST = (
    "No app answers to the host '%[var(txn.shown)]', which nobody has named. If it is yours, list it in "
    "FLYTERAY_ALLOWED_HOSTS where flyteray is started (names with commas between; *.example.com for all below; * for "
    "all); 'localhost' and addresses need no naming."
)
_FOREIGN_PAGE = (
    f"App '{_APP}' takes WebSockets from pages of its own host, and this page is of '%[var(txn.shown)]'. "
    "AppEnvironment(allowed_origins=[...]) names the origins of others."
)
_TOO_OFTEN = (
    f"App '{_APP}' takes %[var(req.rate)] requests a second from each key, or from each address without one, and this "
    f"is one more than that (requests_per_second of its Limits). {_AGAIN}"
)
_APPS_LARGE_HEAD = (
    f"The request's headers have more than the %[var(req.most_headers)] bytes that app '{_APP}' takes (headers of its "
    "Limits)."
)
_ONLY_TLS = (
    "The ingress takes requests from other machines by TLS only: ask for https:// and its port, which "
    "'flyteray status' tells."
)
_NO_TRACE = "TRACE would show a page the headers that its browser hides from it; nobody is answered."
_NO_TUNNEL = "CONNECT is for proxies of the web; the ingress leads to apps only."

_ODD_URL = "The URL has characters that no URL has: send them percent-encoded."
_OLD_CHUNKS = "HTTP/1.0 knows no Transfer-Encoding: send the body with its Content-Length, or over HTTP/1.1."

_ERRORS = {
    400: (
        f"The request is not valid HTTP, has more than the {_TOO_LARGE} that the ingress takes, or its client has "
        "closed its side of the connection, which counts as leaving: keep it open until the answer has come."
    ),
    408: "The request did not arrive in time.",
    500: "The ingress could not handle the request.",
    502: (
        f"App '{_APP}' broke the connection before it answered (its replica or a machine may be lost, and it may have "
        f"acted on the request), its answer is not valid HTTP or has more than {_TOO_LARGE}, or the request was ended: "
        f"its body came at less than {SLOWEST} bytes a second, or its key has ended."
    ),
    503: not_ready(_APP),
    504: (
        f"App '{_APP}' did not answer within the %[var(txn.timeout)] ms that it may take. "
        "Its AppEnvironment(timeouts=Timeouts(request=...)) allows more, up to an hour."
    ),
}


def _lua(text: str) -> str:
    """Words inside a string of Lua."""
    return re.sub(r"%\[var\(txn\.(\w+)\)\]", r'" .. said(txn, "\1") .. "', text)


_TEXT = 'content-type "text/plain; charset=utf-8"'

BROKEN = f"""\
-- A replica that ended without an answer: its client is told, whatever HAProxy would do on a connection used before.
-- Another ingress is not: it has other ways.
local function said(txn, name) return txn:get_var("txn." .. name) or "" end

local function answer(txn, status, reason, words)
  local reply = txn:reply({{status = status, reason = reason}})
  if txn:get_var("txn.grpc") then
    reply:add_header("{GRPC_STATUS}", "{_GRPC[503]}")
    reply:add_header("grpc-message", words)
  else
    reply:add_header("Content-Type", "text/plain; charset=utf-8")
    reply:set_body(said(txn, "open") .. words .. said(txn, "close") .. "\\n")
  end
  txn:done(reply)
end

core.register_action("broken", {{"tcp-res"}}, function(txn)
  if txn:get_var("txn.asked_by_peer") then txn:done() end
  answer(txn, 502, "Bad Gateway", "{_lua(_ERRORS[502])}")
end)

core.register_action("late", {{"tcp-res"}}, function(txn)
  answer(txn, 504, "Gateway Timeout", "{_lua(_ERRORS[504])}")
end)

-- A head that is too large to be read as a whole: its beginning tells how to say so.
core.register_action("too_large", {{"tcp-req"}}, function(txn)
  local head = txn.req:get() or ""
  local status, words = "431 Request Header Fields Too Large", "{_LARGE_HEAD}"
  if not head:find("\\n") then status, words = "414 URI Too Long", "{_LONG_URL}" end
  local asks_json, origin, taken = false, nil, 0
  while taken < {_MOST_OF_A_HEAD} do
    asks_json = asks_json or head:lower():find("\\naccept:[^\\n]*application/[%w.+-]*json")
    origin = origin or head:match("\\n[Oo]rigin:%s*([^%c%s]+)")
    if head:find("\\n\\r?\\n") then break end
    local more = txn.req:get()  -- also so that the client can read the answer
    if not more then break end
    taken = taken + #more
    head = head:sub(-{_LONGEST_LINE}) .. more
  end
  local kind = "text/plain; charset=utf-8"
  if asks_json then kind, words = "application/json", '{{"error": "' .. words .. '"}}' end
  words = words .. "\\n"
  local crossing = ""
  if origin then
    crossing = "Access-Control-Allow-Origin: " .. origin .. "\\r\\nAccess-Control-Allow-Credentials: true\\r\\n"
  end
  txn.res:send("HTTP/1.1 " .. status .. "\\r\\nContent-Type: " .. kind .. "\\r\\nVary: Origin\\r\\n" .. crossing ..
    "Connection: close\\r\\nContent-Length: " .. #words .. "\\r\\n\\r\\n" .. words)
  txn:done()
end)
"""
"""The Lua for ``lua.broken`` and ``lua.late``, which answer where a rule sees that no answer will come."""


def errors() -> str:
    """The lines that give HAProxy's own errors their words."""
    again = {503: " hdr Retry-After 1"}
    lines = (
        f'    http-error status {status} {_TEXT} lf-string "{_either(text)}"{again.get(status, "")}'
        for status, text in _ERRORS.items()
    )
    return "\n".join(lines)


def _says(status: int, text: str, condition: str, headers: str = "", when: str = "request") -> str:
    """A rule that answers with these words."""
    answer = f'{_TEXT} {headers} lf-string "{_either(text)}"'
    return f"    http-{when} return status {status} {answer} {condition}"


def _to_grpc(status: int, text: str, condition: str, when: str = "request") -> str:
    """A rule that answers clients of gRPC with these words, in headers, where they look for them."""
    answer = f'hdr {GRPC_STATUS} {_GRPC[status]} hdr grpc-message "{text}"'
    return f"    http-{when} return status {status} {answer} if {_GRPC_ASKS} {condition}"


def _says_to_all(
    status: int,
    text: str,
    condition: str,
    headers: str = "",
    when: str = "request",
    to_grpc: str = "",
) -> str:
    """Rules that answer with these words, or clients of gRPC with others."""
    return "\n".join(
        [
            _to_grpc(status, to_grpc or text, condition, when),
            _says(status, text, f"if {condition}", headers, when),
        ]
    )


def _beyond(status: int, text: str, limit: str, condition: str, headers: str = "") -> str:
    """Rules that answer who goes beyond a limit of an app; JSON names app and limit beside the words."""
    named = f'", "app": "{_APP}", "limit": "{limit}"}}'
    return "\n".join(
        [
            f"    http-request set-var-fmt(txn.close) '{named}' if {{ var(txn.open) -m found }} {condition}",
            _says_to_all(status, text, condition, headers),
        ]
    )


def _refused(status: int, text: str, shown: str, condition: str, to_grpc: str = "") -> str:
    """Rules that answer with words which show what a client has sent."""
    return "\n".join(
        [
            f"    http-request set-var(txn.shown) {shown} if {condition}",
            f"    http-request set-var(txn.shown) {shown},json(utf8ps) if {condition} asks_json",
            f"    http-request set-var(txn.shown) {shown},url_enc if {_GRPC_ASKS} {condition}",
            _says_to_all(status, text, condition, to_grpc=to_grpc),
        ]
    )


def _either(text: str) -> str:
    """Words that become a JSON object where that was asked for; they hold nothing that JSON escapes."""
    return f"%[var(txn.open)]{text}%[var(txn.close)]\\n"


ASKS_JSON = (
    r"^application/([a-z0-9.-]+\+)?json(\s*;\s*(q=(1(\.0*)?|0?\.[0-9]*[1-9][0-9]*)|[^q;\s][^;]*))*\s*$"
)
"""Matches a media type in ``Accept`` that is JSON and not refused by ``q=0``; for HAProxy and Python alike."""

NOTICED = f"""\
    # how an answer of the ingress's own has to look; the app's are the app's
    acl asks_json req.hdr(accept) -m reg -i '{ASKS_JSON}'
    http-request set-var-fmt(txn.open) '{{"error": "' if asks_json
    http-request set-var-fmt(txn.close) '"}}' if asks_json
    acl grpc var(txn.grpc) -m found
    http-request set-var(txn.grpc) bool(true) if METH_POST {{ req.hdr(content-type) -m beg application/grpc }}
    http-request set-var(txn.origin) req.fhdr(origin) if {{ req.fhdr(origin) -m len gt 0 }}
    # a browser asks so, without a key, whether a page of another origin may send what it is about to send
    acl crosses var(txn.origin) -m found
    acl preflight var(txn.ahead) -m found
    http-request set-var(txn.ahead) req.hdr(access-control-request-method) if METH_OPTIONS crosses !bodied !switches
    http-request set-var(txn.asked) req.fhdr(access-control-request-headers) if preflight
"""
"""Notes how an own answer has to look."""

_ASKS_JSON = f"    acl asks_json req.hdr(accept) -m reg -i '{ASKS_JSON}'"


def backend(name: str, rules: str) -> str:
    """A backend which is there to answer by itself what is led to it."""
    return f"backend {name}\n{_ASKS_JSON}\n{rules}\n"


_METHODS = "hdr Allow GET,HEAD,OPTIONS,POST,PUT,PATCH,DELETE"
LIMITS = "\n".join(
    [
        _says(414, _LONG_URL, f"if {{ url -m len gt {_URL_LIMIT} }}"),
        f"    acl many req.fhdr_cnt gt {_LINES_LIMIT}",
        f"    acl much internal.htx.data gt {_HEADERS_LIMIT}",
        f"    acl large req.hdrs -m len gt {_HEADERS_LIMIT}",
        _says(431, _LARGE_HEAD, "if many || much large"),
        _says(400, _OLD_CHUNKS, "if HTTP_1.0 encoded"),
        _says(
            400, _ODD_URL, "if HTTP_2.0 { url -m reg [^!-~] }"
        ),  # HTTP/1 with such a one is not read at all
        _says(405, _NO_TRACE, "if METH_TRACE", _METHODS),
        _says(405, _NO_TUNNEL, "if { method CONNECT }", _METHODS),
    ]
)
"""Refuses what is too large to be handed on with what the ingress adds."""

_SOON = "hdr Retry-After 1"
UNTOLD = _says_to_all(503, _UNTOLD, f"{{ str(all),map_str({maps.TOLD}) -m str {maps.NOTHING} }}", _SOON)
"""For backends of what nothing is known of; not a rule for each request."""
UNKNOWN = "\n".join(
    [
        UNTOLD,
        _says_to_all(404, _NOT_NAMED, "{ var(txn.app) -m len 0 }"),
        _refused(404, _UNKNOWN, "var(txn.app)", "TRUE", _UNKNOWN_TO_GRPC),
    ]
)
TOO_OFTEN = _beyond(429, _TOO_OFTEN, "requests_per_second", "limited rated too_often", _SOON)
LARGE_BODY = "\n".join(
    _beyond(413, large_body(_APP, "%[var(req.most_body)]"), "body", f"limited body_limited {too_long}")
    for too_long in ("too_long", "length_less whole too_long_a_whole")
)
APPS_LARGE_HEAD = _beyond(431, _APPS_LARGE_HEAD, "headers", "limited headers_limited too_much")
QUEUE_FULL = _beyond(429, queue_full(_APP), "concurrency", "crowded no_room !endless queue_full", _SOON)
NO_HOST = _refused(421, _NO_HOST, "var(req.asked_host)", "TRUE")
FOREIGN_PAGE = _refused(403, _FOREIGN_PAGE, "var(txn.origin)", "TRUE")
STOPPED = _says_to_all(503, _STOPPED, "TRUE")
_BEARER = "hdr WWW-Authenticate Bearer"
WRONG_KEY = _says_to_all(401, _WRONG_KEY, "any_key !known_user", _BEARER)
ENDED_KEY = _says_to_all(401, _ENDED_KEY, "our_key !in_time", _BEARER)
ENDED_MEANWHILE = "\n".join(
    _says_to_all(401, _WRONG_KEY, f"held {gone}", _BEARER, when="response")
    for gone in ("!still_ours", "!in_time")
)
_OWN = f"{{ var(txn.app) -m str -- {maps.OWN} }}"
BARRED_KEY = "\n".join(
    [
        _says(403, _BARRED_FROM_OWN, f"if barred {_OWN}"),
        _says_to_all(403, _BARRED_KEY, "barred"),
    ]
)
LOW_KEY = "\n".join(
    [
        "    http-request set-var(req.role) var(req.least),"
        + ",".join(f"regsub({number},{role})" for number, role in enumerate(ROLES, 1))
        + " if known_user too_low",
        _says_to_all(403, _LOW_KEY, "known_user too_low"),
    ]
)
TOO_MANY_KEYS = _says_to_all(429, _TOO_MANY_KEYS, "wrong_key many_wrong", "hdr Retry-After 10")
FOREIGN_COOKIE = _refused(403, _FOREIGN_COOKIE, "req.fhdr(origin)", "signed !by_cookie !known_user")
NO_KEY = "\n".join(
    [
        _says(401, _NO_KEY_FOR_OWN, f"if !known_user !any_key {_OWN}", _BEARER),
        _says_to_all(401, _NO_KEY, "!known_user", _BEARER),
    ]
)
NO_VERSION = _says_to_all(404, _NO_VERSION, "{ var(txn.lacks) -m found }")


def only_tls(far: str, led: str) -> str:
    """The rules that refuse who is ``far`` and nothing leads to where TLS is; clients of gRPC are not ``led``."""
    return "\n".join(
        [
            _to_grpc(426, _ONLY_TLS, far),
            _says(426, _ONLY_TLS, f"if {far} !{led}", "hdr Upgrade TLS/1.2"),
        ]
    )


_EXPOSED = "WWW-Authenticate, Retry-After, Location"
NO_OWN_PAGES = (
    f'    http-error status 503 {_TEXT} lf-string "'
    f'{_either("The ingress is starting again and tells nothing of itself yet; try again in a moment.")}" '
    "hdr Retry-After 1"
)

READABLE = f"""\
    # the activator finds its own words
    acl refused res.hdr({REFUSED}) -m found
    acl theirs var(txn.theirs) -m found
    acl worded var(txn.worded) -m found
    http-response set-var(txn.worded) bool(true) if refused
    http-response set-var(txn.theirs) bool(true) unless worded
    http-response del-header {REFUSED} if worded
    acl origin var(txn.origin) -m found
    acl ahead var(txn.ahead) -m found
    acl asked var(txn.asked) -m found
    acl json var(txn.open) -m found
    http-after-response allow if theirs
    http-after-response set-header Content-Type application/json if json !worded {{ status ge 400 }} !grpc
    http-after-response set-header Content-Type application/grpc if grpc {{ res.hdr({GRPC_STATUS}) -m found }}
    http-after-response add-header Vary Origin
    http-after-response set-header Access-Control-Allow-Origin %[var(txn.origin)] if origin
    http-after-response set-header Access-Control-Allow-Credentials true if origin
    http-after-response set-header Access-Control-Expose-Headers "{_EXPOSED}" if origin
    # the request itself is told what is wrong: a page can't read the answer to this one
    http-after-response set-header Access-Control-Allow-Methods %[var(txn.ahead)] if ahead
    http-after-response set-header Access-Control-Allow-Headers %[var(txn.asked)] if ahead asked
    http-after-response set-status 200 if ahead
"""
"""Lets pages of other origins read what the ingress itself answers."""
