"""Who is let in: the rules by which HAProxy looks at the host, the page and the key of a request. No effects here.

A key is looked up by its digest in one map, which tells all that it opens; HAProxy itself knows when its time is over.
A rule costs each request, and so does each variable that is there: those that no answer needs are ``req.``.
What stays open for long is tracked by the key's digest and the number that HAProxy has given the request, by which
:meth:`~flyteray._ingress.haproxy.runtime.Conversation.end_requests` finds it.
"""

from __future__ import annotations

from flyteray._ingress.entry.hosts import Hosts
from flyteray._ingress.haproxy import answers, limits, maps
from flyteray._ingress.haproxy.login import rules as login
from flyteray._ingress.trusted_proxies import Trust

OPEN = "open_for_keys"  # counts the requests of each key that stay open for long
ADDRESSES = "addresses"  # counts the connections of each address
WRONG = "wrong_keys"  # counts wrong keys by the address that they come from

_REFUSED, _NO_HOST, _FOREIGN = "refused", "no_host", "foreign_page"  # backends for who is not let in
_BRIEF = 8 << 10  # bytes of a body that are waited for before its request is refused
_LONG = 64 << 10  # bytes of a body that may still be on its way when its key is gone
_WRONG_IN_10_S = 10  # wrong keys that an address may send in so long before it is told to wait

TABLES = f"""\
backend {OPEN}
    stick-table type string len 144 size 64k expire 10s store conn_cur

backend {ADDRESSES}
    stick-table type ipv6 size 64k expire 10s store conn_cur

backend {WRONG}
    stick-table type ipv6 size 64k expire 20s store gpc0_rate(10s)
"""

_NOTES = 'set-var-fmt(txn.open_for) "%[var(txn.digest)]/%rt/%ci:%cp"'


def connections(most: int, trust: Trust) -> str:
    """The rules for connections: an address has at most so many, so that one can't take all."""
    spared = f" !{{ src {' '.join(trust.proxies)} }}" if trust.proxies else ""
    return f"""\
    tcp-request connection track-sc3 src table {ADDRESSES}
    tcp-request connection reject if {{ sc_conn_cur(3) gt {most} }}{spared}"""


def hosts(answered: Hosts, trust: Trust, tls: bool = False) -> str:
    """The rules that tell which host is asked, and whether it is one that is answered to.

    Over ``tls`` a browser has made sure that the host is one of the certificate's.
    """
    asked = "var(txn.address),host_only,lower" if trust.proxies else "var(txn.host)"
    first = f"    http-request set-var(req.asked_host) {asked}"
    if answered.any:
        return f"{first}\n    acl named_host always_true"
    return "\n".join(
        [
            first,
            f"    acl named_host var(req.asked_host) -m str {' '.join(answered.names)}",
            "    acl named_host var(req.asked_host) -m ip 0.0.0.0/0",
            r"    acl named_host var(req.asked_host) -m reg ^\[[0-9a-f:.]+\]$",
            f"    acl named_host var(req.asked_host) -m end {' '.join(answered.endings)}",
            *(["    acl named_host ssl_fc"] if tls else []),
        ]
    )


PAGES = f"""\
    http-request set-var(req.page_host) var(txn.origin),field(3,/),host_only,lower if crosses
    http-request set-var(req.page_host) str(none) if crosses !{{ var(req.page_host) -m found }}
{login.OWN_PAGE}
    acl named_page var(txn.app),concat(/,txn.origin),map_str({maps.ORIGINS}) -m found
    acl any_page var(txn.app),concat(/*),map_str({maps.ORIGINS}) -m found"""
"""The rules that tell of which host the page is that asks."""


def keys(client: str) -> str:
    """The rules for requests with a key, or without; ``client`` is where HAProxy finds the address of who asks."""
    return f"""\
    # whose key it is; one that is missing, wrong or of the past has no owner
    http-request set-var(txn.digest) http_auth_bearer,sha2(256),hex,lower
    acl any_key var(txn.digest) -m found
    http-request set-var(req.key) var(txn.digest),map_str({maps.KEYS}) if any_key
    acl our_key var(req.key) -m found
{login.SEEN}
{_OWNER}
    http-request set-var(req.least) var(req.asks),field(1,/),add(0) if private known_user METH_GET
    http-request set-var(req.least) var(req.asks),field(2,/),add(0) if private known_user !METH_GET
    http-request set-var(req.level) var(req.key),field(2,/),add(0) if private known_user
    acl too_low var(req.level),sub(req.least) lt 0
    # who is not let in is told why in a backend, whose rules are nobody else's
    acl has_host var(req.asked_host) -m len gt 0
    http-request set-var(txn.backend) str({_FOREIGN}) if switches crosses !own_page !named_page !any_page
    http-request set-var(txn.backend) str({_NO_HOST}) if !by_host !private has_host !named_host
    http-request set-var(txn.backend) str({_REFUSED}) if private !known_user !preflight || private barred || \
private known_user too_low
    http-request allow if {{ var(txn.backend) -m str {_FOREIGN} {_NO_HOST} {_REFUSED} }}
    http-request set-header X-Flyteray-User %[var(txn.user)] if known_user !barred
    http-request set-var(txn.rank) var(req.key),field(6,/) if known_user !barred
    acl ranked var(txn.rank) -m len gt 0
    http-request set-header {maps.RANK} %[var(txn.rank)] if ranked
{limits.RANKED}
    # with the key itself any app could do what its caller may
    acl forwards var(txn.app),map_str({maps.FORWARDS}) -m found
    http-request del-header Authorization if our_key !by_cookie !forwards
{login.UNSIGNED}
    acl held var(txn.open_for) -m found
    acl long_body req.hdr(content-length) -m int gt {_LONG}
    http-request {_NOTES} if known_user length_less || known_user long_body
    http-request track-sc1 var(txn.open_for) table {OPEN} if held"""


def refused(client: str) -> str:
    """The backends that say why to who is not let in; ``client`` as above."""
    by_key = f"""\
{answers.UNTOLD}
    acl crosses var(txn.origin) -m found
    acl any_key var(txn.digest) -m found
    acl our_key var(req.key) -m found
    acl in_time date,sub(txn.expires) lt 0
    acl known_user var(txn.user) -m found
    acl barred var(req.barred) -m found
    acl too_low var(req.level),sub(req.least) lt 0
    acl signed var(req.signed) -m found
    acl by_cookie var(req.by_cookie) -m found
    # only wrong keys are counted, as many people may have one address
    http-request set-var(req.wrong) bool(true) if any_key !our_key
{_counted(client)}
{login.LED}
    # curl before 8 takes an answer of HTTP/2 that comes before it has sent its body for a broken stream
    acl brief req.hdr(content-length) -m int le {_BRIEF}
    http-request wait-for-body time 5s if HTTP_2.0 brief
{answers.TOO_MANY_KEYS}
{answers.ENDED_KEY}
{answers.WRONG_KEY}
{answers.FOREIGN_COOKIE}
{answers.NO_KEY}
{answers.BARRED_KEY}
{answers.LOW_KEY}"""
    why = {_REFUSED: by_key, _NO_HOST: answers.NO_HOST, _FOREIGN: answers.FOREIGN_PAGE}
    return "\n".join(answers.backend(name, rules) for name, rules in why.items())


def sign_in(client: str) -> str:
    """The backend where browsers sign in with a key; ``client`` as above."""
    return login.section(_OWNER, _counted(client))


def _counted(client: str) -> str:
    return f"""\
    acl wrong_key var(req.wrong) -m found
    http-request track-sc2 {client} table {WRONG} if wrong_key
    http-request sc-inc-gpc0(2) if wrong_key
    acl many_wrong sc2_gpc0_rate gt {_WRONG_IN_10_S}"""


_OWNER = f"""\
    http-request set-var(txn.expires) var(req.key),field(3,/),add(0) if our_key
    acl in_time date,sub(txn.expires) lt 0
    http-request set-var(txn.user) var(req.key),field(1,/) if our_key in_time
    acl known_user var(txn.user) -m found
    acl for_some var(req.key),field(4,/) -m str some
    acl opens_it var(txn.digest),concat(/,txn.app),map_str({maps.OPENS}) -m found
    http-request set-var(req.barred) bool(true) if known_user for_some !opens_it
    acl barred var(req.barred) -m found"""


ANSWERED = f"""\
    # an answer that may last is counted; its key may have ended while it was waited for
    acl soon_over res.hdr(content-length) -m int le {_LONG}
    acl still_ours var(txn.digest),map_str({maps.KEYS}) -m found
    http-response {_NOTES} if known_user !held !soon_over
    http-response track-sc1 var(txn.open_for) table {OPEN} if held
{answers.ENDED_MEANWHILE}"""
"""The rules for answers to who has sent a key."""
