"""What apps take at most: the rules by which HAProxy refuses the rest at once. No effects here."""

from __future__ import annotations

from flyteray._ingress.haproxy import answers, maps

RATES = "rates"  # counts the requests that an app has taken from each key or address

TABLES = f"""\
backend {RATES}
    stick-table type string len 144 size 100k expire 10s store gpc0_rate(1s)
"""


def rules(client: str) -> str:
    """The rules for requests to apps with limits; ``client`` is where HAProxy finds the address of who asks.

    What is refused is not counted: who asks without a pause gets what the limit allows.
    """
    return f"""\
    http-request set-var(req.rate) var(req.limits),field(1,/),add(0) if limited
    acl rated var(req.rate) -m int gt 0
    http-request set-var-fmt(req.rated_as) "%[var(txn.app)]/%[{client}]" if limited rated !known_user
    http-request set-var-fmt(req.rated_as) "%[var(txn.app)]/%[var(txn.user)]" if limited rated known_user
    http-request track-sc4 var(req.rated_as) table {RATES} if limited rated
    acl too_often sc_gpc0_rate(4),sub(req.rate) ge 0
{answers.TOO_OFTEN}
    http-request sc-inc-gpc0(4) if limited rated
    http-request set-var(req.most_body) var(req.limits),field(2,/),add(0) if limited
    acl body_limited var(req.most_body) -m int gt 0
    acl too_long req.hdr(content-length),sub(req.most_body) gt 0
    acl too_long_a_whole req.body_size,sub(req.most_body) gt 0
{answers.LARGE_BODY}
    http-request set-var(req.most_headers) var(req.limits),field(3,/),add(0) if limited
    acl headers_limited var(req.most_headers) -m int gt 0
    acl too_much req.hdrs,length,sub(req.most_headers) gt 0
{answers.APPS_LARGE_HEAD}"""


RANKED = """\
    # in a queue
    http-request set-priority-class int(-1) if ranked { var(txn.rank) -m str high }
    http-request set-priority-class int(1) if ranked { var(txn.rank) -m str low }"""
"""The rules by which those go first whose key has a high priority; what is ``ranked`` has one that is not usual."""

CROWD = f"""\
    # a replica takes so many at one time, and so many more may wait for each
    http-request set-var(req.crowd) var(txn.backend),map_str({maps.CROWDS})
    acl crowded var(req.crowd) -m found
    acl no_room be_conn_free lt 1
    acl endless be_conn_free,add(1) eq 0
    http-request set-var(req.queue) var(req.crowd),field(2,/),add(0) if crowded
    http-request set-var(req.queue) nbsrv,mul(req.queue) if crowded
    acl goes_first var(txn.rank) -m str high
    acl goes_last var(txn.rank) -m str low
    http-request set-var(req.queue) var(req.queue),mul(2) if crowded goes_first
    http-request set-var(req.queue) var(req.queue),div(2) if crowded goes_last
    acl queue_full queue,sub(req.queue) ge 0
{answers.QUEUE_FULL}"""
"""The rules of each backend."""
