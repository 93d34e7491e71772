"""How clients come by TLS: the address that HAProxy listens on for them, and where it sends those that come without.

No effects here.
"""

from __future__ import annotations

from flyteray._ingress.haproxy import answers, maps
from flyteray._ingress.haproxy.supervisor import TLS_AT, TLS_LISTENER

# Sessions are resumed by tickets: a full handshake costs a millisecond of a core.
_OFFERED = "alpn h2,http/1.1 ssl-min-ver TLSv1.2 curves X25519:P-256:P-384"


def bind(asks_for_certificates: bool) -> str:
    """The lines that have HAProxy listen; clients may have to show a certificate too."""
    asked = f" ca-file {maps.TLS_CLIENTS_FILE} verify required" if asks_for_certificates else ""
    return f"""\
    # also for a handshake that stops half way
    timeout client 5m
    bind "fd@${{{TLS_LISTENER}}}" ssl crt {maps.TLS_FILE} {_OFFERED}{asked} tcp-ut 5m"""


def rules(trusts: bool) -> str:
    """The rules for all who come, once it is known who they are; ``trusts`` says whether proxies are believed."""
    spared = " !trusted" if trusts else ""
    far = f"!by_tls !from_here{spared}"
    there = f'"https://%[req.hdr(host),host_only]${{{TLS_AT}}}%[pathq]"'
    return f"""\
    # code on this machine comes without TLS, and proxies that are believed know what they do
    http-request set-var(req.own_address) dst unless by_tls
    acl from_here src 127.0.0.0/8 ::1
    acl from_here src,strcmp(req.own_address) eq 0
    acl names_host req.hdr(host) -m found
{answers.only_tls(far, "names_host")}
    http-request redirect code 308 location {there} if {far} names_host
    http-request set-header X-Flyteray-Client-Certificate %[ssl_c_s_dn(,0,rfc2253)] if {{ ssl_c_used }}"""
