"""Shares of an app's requests go to versions beside the one that serves: HAProxy's rules for it. No effects here."""

from __future__ import annotations

from flyteray._ingress.haproxy import maps

VERSION_HEADER = "X-Flyteray-Version"  # asks for a version by its name, and tells which one answered
VERSION_COOKIE = "flyteray-version"  # asks for one as well, for browsers
SHARE_COOKIE = "flyteray-share"  # the number that a client has drawn, of which its version is made
_KEPT = f"{SHARE_COOKIE}=%[var(txn.draw)]; Path=%[var(txn.prefix)]/; HttpOnly; SameSite=Lax"

ASKED = f"""\
    # for tests: a version that is there takes a request which names it, whatever its share
    acl names_version req.hdr({VERSION_HEADER}) -m found
    http-request set-var(txn.version) req.hdr({VERSION_HEADER}) if names_version
    http-request set-var(txn.insists) bool(true) if names_version
    acl has_version req.cook({VERSION_COOKIE}) -m found
    http-request set-var(txn.version) req.cook({VERSION_COOKIE}) if !names_version has_version
    acl asks_version var(txn.version) -m found
"""
"""Notes which version is asked for, before the headers that only the ingress may send are taken away."""

CHOSEN = f"""\
    # a share of the requests goes to another version than the one that serves: those whose number of 100 is its own
    acl keeps_by_cookie var(txn.sticks) -m str {maps.COOKIE}
    acl by_chance var(txn.sticks) -m str {maps.CHANCE}
    acl drawn req.cook({SHARE_COOKIE}) -m reg ^[0-9][0-9]?$
    http-request set-var(txn.draw) rand(100) if shared
    http-request set-var(txn.draw) req.cook({SHARE_COOKIE}) if keeps_by_cookie drawn
    http-request set-var(txn.draws) bool(true) if keeps_by_cookie !drawn
    http-request set-var(txn.trait) lua.trait if shared !keeps_by_cookie !by_chance
    http-request set-var(txn.draw) var(txn.trait),xxh32,mod(100) if {{ var(txn.trait) -m found }}
    http-request set-var-fmt(txn.share) %[var(txn.app)].%[var(txn.draw)] if shared
    acl beside var(txn.share),map_str({maps.SHARES}) -m found
    http-request set-var(txn.backend) var(txn.share),map_str({maps.SHARES}) if shared beside
    http-request set-var-fmt(txn.wanted) %[var(txn.app)]/%[var(txn.version)] if asks_version
    acl there var(txn.wanted),map_str({maps.VERSIONS}) -m found
    http-request set-var(txn.backend) var(txn.wanted),map_str({maps.VERSIONS}) if asks_version there
    acl insists var(txn.insists) -m found
    http-request set-var(txn.lacks) bool(true) if insists !there
    http-request set-var(txn.answers) var(txn.backend),map_str({maps.VERSIONS}) if shared || asks_version there
"""
"""Chooses the backend of a request among the versions of its app."""

TOLD = f"""\
    # which version has answered, and the number that the client keeps
    acl told var(txn.answers) -m found
    http-after-response set-header {VERSION_HEADER} %[var(txn.answers)] if told
    acl drew var(txn.draws) -m found
    http-after-response add-header Set-Cookie "{_KEPT}" if drew
"""

LUA = """\
-- What keeps a client to one version where that is a header: its value.
core.register_fetches("trait", function(txn)
  return txn.sf:req_hdr(txn:get_var("txn.sticks")) or ""
end)
"""
