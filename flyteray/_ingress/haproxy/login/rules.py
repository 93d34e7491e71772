"""Browsers sign in with a key on a page of the ingress's own, and send a cookie from then on. No effects here.

The cookie is the digest of the key and what :func:`~flyteray._ingress.entry.grants.signed` has made of it: it opens
what the key opens, as long as the key does, and is not the key. HAProxy itself looks at forms and cookies, so that a
request with a cookie goes no other way than one with a key. A browser sends a cookie with what pages of strangers have
it ask, too: it counts for pages of its own host only. Over TLS it has another name, which no neighbouring host can set.
"""

from __future__ import annotations

from flyteray._ingress.haproxy import maps
from flyteray._ingress.haproxy.login.pages import DONE, FORM, LOGOUT, OUT, guards

LOGIN = "/-/login"
COOKIE = "flyteray-login"
SECURE_COOKIE = f"__Host-{COOKIE}"

_BACKEND = "login"
_LASTS_S = 30 * 86400
_SIGN = 64  # letters that a cookie has beside the digest
_LONGEST = 2048  # bytes of an address that a browser is led back to
_BACK = r"^/(?![/\\])[!-\[\]-~]*$"  # a path here: two slashes begin another host, and browsers read \ as /

_SECURE = "acl secure var(txn.proto) -m str https"
_ENDS = '"%[var(req.cookie),field(1,.)].%[var(req.cookie_key),field(5,/)]"'

OWN_PAGE = """\
    acl own_page var(req.page_host),strcmp(req.asked_host) eq 0
    acl own_page req.hdr(sec-fetch-site) -m str same-origin"""
"""Tells whether it is a page of the host that is asked which asks; no page can say the latter of itself."""

HAS_LOGIN = f"    acl has_login req.fhdr(cookie) -m sub {COOKIE}"
"""Tells whether a request may come from who has signed in."""

SEEN = f"""\
    # who has signed in sends a cookie instead of a key; it counts where no page of another host is behind that
    {_SECURE}
    http-request set-var(req.cookie) req.cook({COOKIE}) if !secure has_login !our_key
    http-request set-var(req.cookie) req.cook({SECURE_COOKIE}) if secure has_login !our_key
    acl has_cookie var(req.cookie) -m found
    http-request set-var(req.cookie_key) var(req.cookie),field(1,.),map_str({maps.KEYS}) if has_cookie
    acl has_sign var(req.cookie_key),field(5,/) -m len {_SIGN}
    http-request set-var-fmt(req.right_cookie) {_ENDS} if has_cookie has_sign
    acl right_cookie var(req.cookie),secure_memcmp(req.right_cookie)
    http-request set-var(req.signed) bool(true) if has_cookie right_cookie
    acl signed var(req.signed) -m found
    http-request set-var(req.by_cookie) bool(true) if signed own_page || signed METH_GET !crosses || signed switches \
named_page
    acl by_cookie var(req.by_cookie) -m found
    http-request set-var(txn.digest) var(req.cookie),field(1,.) if by_cookie
    http-request set-var(req.key) var(req.cookie_key) if by_cookie
    http-request set-var(txn.hint) str(" Sign out at {LOGOUT} to use another key.") if by_cookie
    # the page is below the hosts of apps as well: a browser keeps cookies by host
    http-request set-var(txn.backend) str({_BACKEND}) if private {{ path {LOGIN} {LOGOUT} }}
    http-request allow if private {{ var(txn.backend) -m str {_BACKEND} }}"""
"""Takes a cookie for the key that it was made of, and leads to the page where one signs in."""

LED = f"""\
    # a browser without a key is led to where one signs in; what programs ask is not
    acl browses req.hdr(accept) -m sub text/html
    acl has_mode req.hdr(sec-fetch-mode) -m found
    acl navigates req.hdr(sec-fetch-mode) -m str navigate
    acl bears http_auth_bearer -m found
    acl far url_len gt {_LONGEST}
    acl lost var(req.lost) -m found
    http-request set-var(req.lost) bool(true) if !known_user METH_GET browses !asks_json !crosses !bears !far
    http-request return status 302 hdr Location "{LOGIN}?next=%[pathq,url_enc]" hdr Cache-Control no-store \
if lost !has_mode || lost navigates"""
"""Leads browsers there."""

UNSIGNED = "    http-request lua.unsigned if has_login !forwards"
"""Keeps cookies from the apps."""

LUA = f"""\
-- What a browser signs in with is not for the apps: all cookies of that name are taken out, however they are written.
local function without_login(lines)
  local left = {{}}
  for number = 0, #lines do
    local kept = {{}}
    for pair in lines[number]:gmatch("[^;]+") do
      local name = pair:match("^%s*([^=]-)%s*=")
      if name ~= "{COOKIE}" and name ~= "{SECURE_COOKIE}" then kept[#kept + 1] = pair:match("^%s*(.-)%s*$") end
    end
    if #kept > 0 then left[#left + 1] = table.concat(kept, "; ") end
  end
  return left
end

core.register_action("unsigned", {{"http-req"}}, function(txn)
  local lines = txn.http:req_get_headers()["cookie"]
  txn.http:req_del_header("cookie")
  for _, line in ipairs(without_login(lines)) do txn.http:req_add_header("cookie", line) end
end)
"""


def section(owner: str, counted: str) -> str:
    """The backend that answers who signs in or out, by itself.

    ``owner`` are the rules that tell whose a key is, and ``counted`` those that count a wrong one.
    """
    return "\n".join(
        [
            f"backend {_BACKEND}",
            *_NOTED,
            *_form(403, "A page of another host has sent this form. Nothing was done.", "METH_POST stranger"),
            *_KEY_OF_FORM,
            owner,
            "    http-request set-var(req.wrong) bool(true) if sends_key any_key !our_key",
            counted,
            *_form(
                429,
                "Too many wrong keys came from this address. Wait some seconds, then try again.",
                "wrong_key many_wrong",
                "hdr Retry-After 10 ",
            ),
            *_form(401, "The time of this key is over.", "sends_key our_key !in_time"),
            *_form(401, "This key is not or no longer right.", "sends_key any_key !known_user"),
            *_form(400, "Paste a key first.", "sends_key !known_user"),
            *_form(403, "This key is for other apps than the one that is here.", "sends_key barred by_host"),
            *_form(503, "Nobody can be signed in yet. Try again in a moment.", "sends_key !has_sign"),
            *_set_cookie("%[var(txn.digest)].%[var(req.key),field(5,/)]", _LASTS_S, "sends_key"),
            _says(303, "sends_key leads_back", f"{_SETS} hdr Location %[var(req.back)]"),
            _says(200, "sends_key", _SETS, DONE),
            _says(302, "signs_in METH_GET known_user leads_back", "hdr Location %[var(req.back)]"),
            _says(200, "signs_in METH_GET known_user", "", DONE),
            *_form(200, "You are not signed in any more: the key has ended.", "signs_in METH_GET has_cookie"),
            *_form(200, "", "signs_in METH_GET"),
            *_set_cookie("", 0, "!signs_in METH_POST"),
            _says(303, "!signs_in METH_POST", f"{_SETS} hdr Location {LOGIN}"),
            _says(200, "!signs_in METH_GET", "", OUT),
            _says(405, "TRUE", "hdr Allow GET,HEAD,POST", FORM),
            "",
        ]
    )


_NOTED = [
    # these answers are for who is here alone, and never JSON
    "    http-request set-var(txn.theirs) bool(true)",
    f"    {_SECURE}",
    f"    acl signs_in path {LOGIN}",
    "    acl crosses var(txn.origin) -m found",
    OWN_PAGE,
    "    acl stranger var(req.stranger) -m found",
    "    http-request set-var(req.stranger) bool(true) if crosses !own_page",
    "    acl by_host var(txn.by_host) -m found",
    "    acl has_cookie var(req.cookie) -m found",
    r"    acl plain_host var(txn.address) -m reg ^[0-9A-Za-z.:_\[\]-]+$",
    "    http-request set-var(txn.shown) var(txn.address) if plain_host",
    "    http-request set-var(req.back) url_param(next),url_dec",
    f"    acl leads_back var(req.back) -m reg '{_BACK}'",
    f"    acl has_sign var(req.key),field(5,/) -m len {_SIGN}",
]
_KEY_OF_FORM = [
    "    acl any_key var(txn.digest) -m found",
    "    acl our_key var(req.key) -m found",
    "    acl sends_key var(req.sends_key) -m found",
    "    http-request set-var(req.sends_key) bool(true) if signs_in METH_POST",
    "    http-request wait-for-body time 5s if sends_key",
    "    http-request unset-var(txn.digest) if sends_key",
    "    http-request unset-var(req.key) if sends_key",
    "    http-request set-var(req.form) req.body_param(key),url_dec(1),regsub([[:space:]]+,,g) if sends_key",
    "    acl filled var(req.form) -m len gt 0",
    "    http-request set-var(txn.digest) var(req.form),sha2(256),hex,lower if sends_key filled",
    f"    http-request set-var(req.key) var(txn.digest),map_str({maps.KEYS}) if sends_key filled",
]
_SETS = 'hdr Set-Cookie "%[var(txn.set_cookie)]"'


def _set_cookie(value: str, age_s: int, condition: str) -> list[str]:
    rest = f"Path=/; HttpOnly; SameSite=Lax; Max-Age={age_s}"
    return [
        f'    http-request set-var-fmt(txn.set_cookie) "{COOKIE}={value}; {rest}" if {condition} !secure',
        f'    http-request set-var-fmt(txn.set_cookie) "{SECURE_COOKIE}={value}; {rest}; Secure" if {condition} secure',
    ]


def _form(status: int, problem: str, condition: str, headers: str = "") -> list[str]:
    """Rules that answer with the form, and what is wrong."""
    words = [f'    http-request set-var-fmt(txn.problem) "{problem}" if {condition}'] if problem else []
    return [*words, _says(status, condition, headers, FORM)]


def _says(status: int, condition: str, headers: str, file: str = "") -> str:
    page = f'content-type "text/html; charset=utf-8" lf-file {file} {guards()} ' if file else ""
    return (
        f"    http-request return status {status} {page}{headers} hdr Cache-Control no-store if {condition}"
    )
