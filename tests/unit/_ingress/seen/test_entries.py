from __future__ import annotations

import json
from typing import Any

import pytest

from flyteray._ingress.routes import IngressState
from flyteray._ingress.seen import entries
from flyteray._ingress.seen.lines import read

STATE = IngressState(
    {"hello": 7, "coming": None, "came": 8},
    owners={7: "hello", 6: "hello", 8: "came"},
    names={"b7": "v2", "b7/s1": "hello#one", "b7/s4": "hello#four", "b7/g5": "hello#five"},
)


def entry(line: str) -> dict[str, Any]:
    request = read(line.encode())
    assert request is not None
    text = entries.entry(request, STATE)
    assert "\n" not in text
    found: dict[str, Any] = json.loads(text)
    return found


def sent(backend: str = "b7", server: str = "s1", served: str = "-", app: str = "hello") -> dict[str, Any]:
    return entry(
        f"1.6 {backend} {server} 200 --NN 139 490 0 1 1796032450000000 1796032450002000 1796032450379203 - "
        f"10.0.0.9 ann 7f-3 {served} GET {app} /hello/"
    )


def test_an_entry_tells_all_of_a_request() -> None:
    assert sent() == {
        "app": "hello",
        "time": "2026-11-30T09:54:10.379Z",
        "version": "v2",
        "backend": "b7",
        "replica": "hello#one",
        "key": "ann",
        "client": "10.0.0.9",
        "method": "GET",
        "path": "/hello/",
        "status": 200,
        "bytes_in": 139,
        "bytes_out": 490,
        "queue_ms": 0,
        "connect_ms": 1,
        "first_byte_ms": 2.0,
        "whole_ms": 379.203,
        "ended": "completed",
        "request_id": "7f-3",
    }


def test_what_is_not_known_is_null() -> None:
    told = entry("1.17 apps <NOSRV> 0 PR-- 0 0 -1 -1 - - 1796032473952229 - 10.0.0.9 - - - - - -")

    empty = {name for name, value in told.items() if value is None}
    assert empty == {
        *(
            "app",
            "version",
            "backend",
            "replica",
            "key",
            "method",
            "path",
            "status",
            "queue_ms",
            "connect_ms",
        ),
        *("first_byte_ms", "whole_ms", "request_id"),
    }
    assert told["ended"] == "the ingress refused it before the request was there"


@pytest.mark.parametrize(
    ("server", "served", "replica"),
    [
        ("s1", "-", "hello#one"),
        ("s2", "-", "s2"),  # nobody has told its id yet
        ("b7-s4", "-", "hello#four"),  # of another node, where each replica stands for itself
        ("b7-s1", "s4", "hello#four"),  # where one stands for all
        ("g5", "-", "hello#five"),  # over HTTP/2
        ("b7-g5", "-", "hello#five"),
        ("b7-s1", "g5", "hello#five"),
        ("g6", "-", "g6"),
        ("act", "-", None),
        ("act_of_http2", "-", None),
        ("act_of_http2", "g5", "hello#five"),  # it has led it to another node
    ],
)
def test_the_replica_is_told_by_its_id(server: str, served: str, replica: str | None) -> None:
    assert sent(server=server, served=served)["replica"] == replica


def test_a_request_is_of_the_app_and_version_that_it_was_sent_to() -> None:
    assert sent(backend="b6")["app"] == "hello"
    assert (sent(backend="b6")["version"], sent(backend="b6")["backend"]) == (None, "b6")
    assert sent(backend="coming", server="act", app="came")["backend"] == "b8"
    assert sent(backend="coming-http2", server="act_of_http2", app="came")["backend"] == "b8"
    assert sent(backend="coming", server="act", app="coming")["backend"] is None
    assert sent(backend="apps", server="<NOSRV>", app="no-app")["app"] is None


def test_what_a_client_writes_can_not_break_an_entry() -> None:
    path = '/hello/"},\\x/%0A/é'
    told = entry(
        f"1.6 b7 s1 200 --NN 1 1 0 0 1000 2000 3000 - 10.0.0.9 - - - GET hello {path}",
    )

    assert told["path"] == path


@pytest.mark.parametrize(
    ("termination", "words"),
    [
        ("--NN", "completed"),
        ("CDNN", "the client left during the answer"),
        ("CHVN", "the client left before the answer began"),
        ("SDNN", "the replica broke off during the answer"),
        ("sHNN", "the replica was silent for too long before the answer began"),
        ("sQNN", "the replica was silent for too long while it waited for a replica with room"),
        ("SCNN", "the replica broke off while a replica was being reached"),
        ("LR--", "the ingress answered itself"),
        ("DDNN", "the replica was marked down during the answer"),
    ],
)
def test_how_a_request_ended_is_told_in_words(termination: str, words: str) -> None:
    assert entries.ended(termination) == words
