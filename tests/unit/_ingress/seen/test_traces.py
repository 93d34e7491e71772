from __future__ import annotations

import re

import pytest

from flyteray._ingress.haproxy.config import frame
from flyteray._ingress.seen.lines import read
from flyteray._ingress.seen.traces import Trace, rules
from flyteray._traces.asked import Sampling


def test_where_no_traces_are_asked_for_haproxy_is_told_nothing_of_them() -> None:
    for logs in (False, True):
        off = frame(threads=1, connections=100, logs=logs)
        on = frame(threads=1, connections=100, logs=logs, sampling=Sampling())

        assert "traceparent" not in off
        assert "txn.traced" not in off
        ours = [line for line in rules(Sampling(), logs).splitlines() if line]
        left = [line for line in on.splitlines() if line not in ours and "log-format" not in line]
        assert left == [line for line in off.splitlines() if "log-format" not in line]
    assert rules(None, logs=True) == ""


@pytest.mark.parametrize(
    ("text", "trace"),
    [
        ("-", None),
        (f"{'0' * 31}a.{'0' * 15}b.{'0' * 15}c", Trace(10, 11, 12)),
        (f"{'0' * 31}a.{'0' * 15}b.", Trace(10, 11, None)),
        (f"{'0' * 31}a.{'0' * 15}b.-", Trace(10, 11, None)),
    ],
)
def test_a_line_tells_of_the_trace_of_a_request(text: str, trace: Trace | None) -> None:
    request = read(
        b"24790.6 b7 s1 200 --NN 139 490 0 1 1796032450369203 1796032450371203 1796032450379203 - "
        + text.encode()
        + b" 10.0.0.9 ann 7f-3 s4 GET hello /hello/"
    )

    assert request is not None
    assert request.trace == trace
    assert (request.client, request.app, request.path) == ("10.0.0.9", "hello", "/hello/")


@pytest.mark.parametrize(
    ("sampling", "below"),
    [(Sampling(True, 1.0), 2**32), (Sampling(True, 0.25), 2**30), (Sampling(False, 0.0), 0)],
)
def test_whether_a_trace_is_recorded_follows_from_its_identifier(sampling: Sampling, below: int) -> None:
    [decided] = re.findall(r"set-var\(txn.recorded\) .*", rules(sampling, logs=False))

    assert f"lt {below} }}" in decided
    assert ("has_parent" in decided) is sampling.by_parent
