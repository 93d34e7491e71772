from __future__ import annotations

import pytest

from flyteray._ingress.seen.lines import fate, read


def test_a_line_tells_where_a_request_went_how_it_ended_and_what_it_took() -> None:
    request = read(
        b"24790.6 b7 s1 200 --NN 139 490 0 1 1796032450369203 1796032450371203 1796032450379203 - "
        b"10.0.0.9 ann 7f-3 s4 GET hello /hello/%C3%A9"
    )

    assert request is not None
    assert (request.number, request.copy) == ("24790.6", "-")
    assert (request.backend, request.server, request.status, request.termination) == ("b7", "s1", 200, "--NN")
    assert (request.sizes, request.waits) == (["139", "490"], ["0", "1"])
    assert (request.latency_us, request.whole_us, request.over_us) == (2000, 10_000, 1796032450379203)
    assert (request.client, request.user, request.id, request.served) == ("10.0.0.9", "ann", "7f-3", "s4")
    assert (request.method, request.app, request.path) == ("GET", "hello", "/hello/%C3%A9")


def test_what_the_frontend_answers_itself_has_no_latency() -> None:
    request = read(
        b"24790.17 apps <NOSRV> 404 LR-- 134 169 -1 -1 - 1796032473952229 1796032473952229 - "
        b"10.0.0.9 - 7f-3 - GET no /no/pe"
    )

    assert request is not None
    assert (request.backend, request.latency_us, request.whole_us) == ("apps", None, None)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"Proxy apps stopped (cumulated conns: FE: 2, BE: 0).",
        b"Server b0/s1 is DOWN, reason: Layer4 connection problem, check duration: 0ms.",
        b"3 events dropped",
        b"a sentence of twenty words that HAProxy has never said and will not say as they are but words only now",
    ],
)
def test_what_else_haproxy_tells_is_no_request(line: bytes) -> None:
    assert read(line) is None


@pytest.mark.parametrize(
    ("status", "termination", "is_error"),
    [
        (200, "--", False),
        (404, "--", False),
        (500, "--", True),
        (502, "LH", True),  # ended without an answer
        (502, "PH", True),  # no HTTP
        (503, "SC", True),
        (503, "sQ", True),  # waited too long for its turn
        (504, "sH", True),
        (200, "SD", True),  # broke off
        (101, "SD", False),
        (200, "CD", False),
        (500, "CD", False),
        (400, "CH", False),
        (408, "cR", False),
    ],
)
def test_errors_are_those_that_the_client_has_no_part_in(
    status: int, termination: str, is_error: bool
) -> None:
    assert fate(status, f"{termination}NN").is_error is is_error


@pytest.mark.parametrize(
    ("status", "termination", "aborted", "answered"),
    [(400, "CH", True, False), (200, "CD", True, True), (101, "CD", False, True), (200, "--", False, True)],
)
def test_who_leaves_early_is_told_from_who_ends_a_websocket(
    status: int, termination: str, aborted: bool, answered: bool
) -> None:
    found = fate(status, f"{termination}NN")

    assert (found.is_aborted, found.is_answered) == (aborted, answered)
