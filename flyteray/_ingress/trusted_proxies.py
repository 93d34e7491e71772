"""Trusted proxies may say in headers whom a request is of; nobody else may, and nobody may say what the ingress does.

Servers tell an application of a request's headers in their own ways: some read every separator as ``_``, some take
``SCRIPT_NAME`` from all who speak for a proxy. So a name counts in every spelling that one of them may mean by it.
No effects here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_ANY = "[^a-z0-9]"  # what a server may read as the separator of a name's words
# Headers by which servers and applications learn from a proxy who asks, for what, and by which address.
_SPOKEN = (
    *("x-forwarded(-.*)?", "x-flyteray-.*", "x-original-.*", "x-envoy-.*", "forwarded"),
    *(
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-proxyuser-ip",
    ),
    *("x-remote-user", "x-remote-addr", "remote-user", "remote-addr"),
    *("x-rewrite-url", "x-url-scheme", "x-scheme", "front-end-https"),
    *("x-script-name", "script-name", "path-info", "x-path-info"),
    *("proxy", "proxy-connection", "http2-settings"),
)
_MISSPELT = ("content-length", "content-type", "transfer-encoding")  # right only with a hyphen
_TAKEN_OVER = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "forwarded")
_NO_PORT = r"""'regsub("^([0-9.]+):[0-9]+$","\1")','regsub("^\[([0-9A-Fa-f:.]+)\](:[0-9]+)?$","\1")'"""
_HOPS = 8  # proxies in a row of which each speaks for the one before it


@dataclass(frozen=True)
class Trust:
    """Whom the ingress believes.

    Args:
        proxies: Networks in CIDR notation; what comes from them may say whom it speaks for.
        headers: Names of headers, in lower case, that pass from them as they are, and from nobody else.
    """

    proxies: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


NOBODY = Trust()  # the client is who is directly connected


def rules(trust: Trust, tls: bool = False) -> str:
    """The rules that leave of a request's headers what may be believed, and say who asks and by which address.

    With ``tls`` clients may come by it.
    """
    by_tls = _BY_TLS if tls else ()
    # most headers are told from these by their first letter, at a tenth of the cost
    first = "".join(sorted({name[0] for name in (*_SPOKEN, *_MISSPELT, *trust.headers)}))
    spelt = [name.replace("-", _ANY) for name in (*_SPOKEN, *trust.headers)]
    misspelt = [name.replace("-", "[^a-z0-9-]") for name in _MISSPELT]
    said = rf"^(?=[{first}])({'|'.join(spelt)}|{'|'.join(misspelt)})$"
    lines = [
        "    # nobody says what only the ingress knows, nor has a server take it away",
        "    http-request set-header Connection upgrade if switches",
        "    http-request del-header Connection unless switches",
    ]
    if not trust.proxies:
        return "\n".join([*lines, f"    http-request del-header '{said}' -m reg", *_SEEN, *by_tls, *_TOLD])
    kept = "|".join([*_TAKEN_OVER, *trust.headers])
    return "\n".join(
        [
            *lines,
            f"    acl trusted src {' '.join(trust.proxies)}",
            f"    http-request del-header '{said}' -m reg unless trusted",
            f"    http-request del-header '^(?!({kept})$){said.removeprefix('^')}' -m reg if trusted",
            *_SEEN,
            *by_tls,
            *_taken_over(trust.proxies),
            *_TOLD,
        ]
    )


def client(trust: Trust) -> str:
    """Where HAProxy finds the address of who asks, once :func:`rules` are through."""
    return "var(txn.asker)" if trust.proxies else "src"


def external_host(hosts: str) -> str:
    """The rules that lead by the address which clients use to an app that the address used here does not name.

    ``hosts`` is the map from host names to apps.
    """
    outside = "var(txn.address),host_only,lower"
    return "\n".join(
        [
            f"    acl outside_known {outside},map_str({hosts}) -m found",
            f"    acl outside_known {outside} -m end .localhost",
            f"    http-request set-var(txn.host) {outside} if !known_host !own_host outside_known",
            f"    http-request set-var(txn.app) var(txn.host),map_str({hosts})",
        ]
    )


_SEEN = (
    "    http-request set-var(txn.proto) str(http)",
    "    http-request set-var(txn.address) req.hdr(host)",
)
_BY_TLS = ("    acl by_tls ssl_fc", "    http-request set-var(txn.proto) str(https) if by_tls")
_TOLD = (
    "    http-request set-header X-Forwarded-For %[src] unless { req.hdr(x-forwarded-for) -m found }",
    "    http-request set-header X-Forwarded-Proto %[var(txn.proto)]",
    "    http-request set-header X-Forwarded-Host %[var(txn.address)] if { var(txn.address) -m found }",
)


def _taken_over(proxies: Iterable[str]) -> list[str]:
    """What a trusted proxy says of a request. Its own X-Forwarded headers count before a Forwarded one, which may be
    its client's."""
    known = " ".join(proxies)
    lines = [f"    acl says_x req.hdr({name}) -m found" for name in _TAKEN_OVER if name.startswith("x-")] + [
        "    http-request del-header Forwarded if trusted says_x",
        "    acl says_for req.hdr(x-forwarded-for) -m found",
        "    acl says_forwarded req.hdr(forwarded) -m found",
        "    http-request set-var(txn.client) src if trusted",
        f"    acl speaks var(txn.client) -m ip {known}",
        "    acl veiled var(txn.veiled) -m found",
    ]
    for hop in range(1, _HOPS + 1):
        # some say an address's port as well
        lines += _hop(f"req.hdr(x-forwarded-for,-{hop}),{_NO_PORT}", "speaks !veiled says_for")
        forwarded = f"req.hdr(forwarded,-{hop})"
        walks = "speaks !veiled says_forwarded"
        lines += [
            f"    http-request set-var(txn.{var}) {forwarded},rfc7239_field({field}) "
            f"if {walks} {{ {forwarded},rfc7239_field({field}) -m found }}"
            for var, field in (("said_proto", "proto"), ("said_host", "host"))
        ]
        lines += _hop(f"{forwarded},rfc7239_field(for),rfc7239_n2nn", walks)
    host = r"^([0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
    return [
        *lines,
        "    http-request set-var(txn.said_proto) req.hdr(x-forwarded-proto,-1) if trusted says_x",
        "    http-request set-var(txn.said_host) req.hdr(x-forwarded-host,-1) if trusted says_x",
        "    http-request set-var(txn.proto) str(https) if { var(txn.said_proto) -m str -i https wss }",
        "    http-request set-var(txn.proto) str(http) if { var(txn.said_proto) -m str -i http ws }",
        f"    http-request set-var(txn.address) var(txn.said_host) if {{ var(txn.said_host) -m reg '{host}' }}",
        "    acl says_port req.hdr(x-forwarded-port,-1) -m int 1:65535",
        "    http-request del-header X-Forwarded-Port unless says_port",
        "    http-request set-var(txn.port) req.hdr(x-forwarded-port,-1) if says_port",
        "    acl has_port var(txn.address) -m reg :[0-9]+$",
        "    acl secure var(txn.proto) -m str https",
        "    acl usual var(txn.port) -m str 80",
        "    acl usual_secure var(txn.port) -m str 443",
        "    http-request set-var-fmt(txn.address) %[var(txn.address)]:%[var(txn.port)] "
        "if says_port !has_port { var(txn.address) -m found } !usual !secure || "
        "says_port !has_port { var(txn.address) -m found } !usual_secure secure",
        # a list in one line, for some read the last line only
        *(
            "    http-request set-header X-Forwarded-For "
            f'"{", ".join([f"%[req.fhdr(x-forwarded-for,-{line})]" for line in range(count, 0, -1)])}, %[src]" '
            f"if trusted {{ req.fhdr_cnt(x-forwarded-for) {exactly} {count} }}"
            for count, exactly in ((1, "eq"), (2, "eq"), (3, "ge"))
        ),
        '    http-request set-header X-Forwarded-For "%[var(txn.client)], %[src]" if trusted says_forwarded !says_for',
        "    acl six src -m sub :",
        '    http-request set-header Forwarded "%[req.fhdr(forwarded)], for=%[src]" if says_forwarded !six',
        "    http-request set-header Forwarded '%[req.fhdr(forwarded)], for=\"[%[src]]\"' if says_forwarded six",
        "    http-request set-header X-Flyteray-Client %[var(txn.client)] if trusted",
        "    http-request set-var(txn.asker) src",
        "    http-request set-var(txn.asker) var(txn.client) if trusted",
    ]


def _hop(value: str, walks: str) -> list[str]:
    """Go on to the one that a trusted one speaks for, unless it does not say who that is."""
    return [
        f"    http-request set-var(txn.veiled) bool(true) if {walks} {{ {value} -m found }} "
        f"!{{ {value} -m ip 0.0.0.0/0 ::/0 }}",
        f"    http-request set-var(txn.client) {value} if {walks} {{ {value} -m ip 0.0.0.0/0 ::/0 }}",
    ]
