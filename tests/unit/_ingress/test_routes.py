from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.routes import ELSEWHERE, OVER_HTTP2, IngressState, Slot, free_backend, pool


@pytest.mark.parametrize("name", ["", "A", "a b", "a;b", "a.b", "a\nb", "-a", "a-", "a/b"])
def test_a_name_that_is_no_app_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be an app's name"):
        IngressState({name: 0})


@pytest.mark.parametrize("state", [{"apps": {"a": 8192}}, {"apps": {"a": -1}}, {"backends": {8192: {}}}])
def test_a_backend_outside_the_pool_is_refused(state: dict[str, dict[object, object]]) -> None:
    with pytest.raises(ValueError, match="no backend"):
        IngressState(**state)  # type: ignore[arg-type]


@pytest.mark.parametrize("slot", [0, 1001])
def test_a_slot_outside_the_backend_is_refused(slot: int) -> None:
    with pytest.raises(ValueError, match=f"no slot {slot}"):
        IngressState(backends={0: {slot: Slot("127.0.0.1", 80)}})


@pytest.mark.parametrize(
    ("host", "port"), [("", 80), ("a b", 80), ("1.2.3.4;", 80), ("::1", 0), ("::1", 65536)]
)
def test_an_address_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"A replica's (host|port) must be"):
        Slot(host, port)


@pytest.mark.parametrize("host", ["", "A.b", "a b", "a;b", "a/b", "a:80", "a\nb"])
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="no host name"):
        IngressState({"a": 0}, hosts={host: "a"})


@pytest.mark.parametrize("said", [{"hosts": {"x": "b"}}, {"timeouts": {"b": 1}}, {"sticky": frozenset("b")}])
def test_what_is_said_of_an_app_that_is_not_there_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no app 'b'"):
        IngressState({"a": 0}, **said)


@pytest.mark.parametrize(
    ("digest", "owner"), [("1" * 63, "ann"), ("A" * 64, "ann"), ("1" * 64, "ann b"), ("1" * 64, "")]
)
def test_a_key_that_is_no_digest_or_has_no_owner_is_refused(digest: str, owner: str) -> None:
    with pytest.raises(ValueError, match=r"no SHA-256 in hex|no name of a key's owner"):
        IngressState(keys={digest: Grant(owner)})


def test_an_app_that_asks_for_keys_has_a_name() -> None:
    with pytest.raises(ValueError, match="can't be an app's name"):
        IngressState(private=frozenset({"a b"}))


def test_a_timeout_of_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 ms"):
        IngressState({"a": 0}, timeouts={"a": 0})


def test_a_state_travels_between_processes() -> None:
    state = IngressState({"a": 1, "b": None}, {1: {2: Slot("127.0.0.1", 80)}})

    assert pickle.loads(pickle.dumps(state)) == state


def test_without_replicas_the_apps_remain() -> None:
    state = IngressState({"a": 1, "b": None}, {1: {2: Slot("127.0.0.1", 80)}}, {"x.localhost": "a"}, {"a": 5})

    assert state.without_replicas() == IngressState({"a": 1, "b": None}, {}, {"x.localhost": "a"}, {"a": 5})


@pytest.mark.parametrize(
    ("needed", "there"), [(0, 128), (1, 128), (128, 128), (129, 256), (1000, 1024), (8192, 8192)]
)
def test_backends_become_twice_as_many(needed: int, there: int) -> None:
    assert pool(needed) == there


def test_a_state_needs_the_backends_that_it_names_wherever_it_does() -> None:
    assert IngressState().needs() == 0
    assert IngressState({"a": 4, "b": None}).needs() == 5
    assert IngressState(backends={7: {}}).needs() == 8
    assert IngressState({"a": 0}, owners={9: "old"}).needs() == 10


def test_a_backend_is_free_until_all_are_taken() -> None:
    assert free_backend([]) == 0
    assert free_backend([0, 1, 3]) == 2
    assert free_backend(range(8191)) == 8191
    assert free_backend(range(8192)) is None


def test_what_can_not_follow_keeps_the_routes_that_are_true_of_its_replicas() -> None:
    one, two = Slot("127.0.0.1", 1), Slot("127.0.0.1", 2)
    begun = IngressState(
        {"same": 0, "more": 1, "less": 2, "moved": 3}, {0: {1: one}, 1: {1: one}, 2: {1: one}, 3: {1: one}}
    )
    now = IngressState(
        {"same": 0, "more": 1, "less": 2, "moved": 3, "new": 4, "beyond": 5, "off": None},
        {0: {1: one}, 1: {1: one, 2: two}, 2: {}, 3: {1: two}, 4: {1: two}, 5: {1: two}},
    )

    left = now.left_to(begun, 5)

    assert left.apps == {
        "same": 0,
        "more": 1,
        "less": None,
        "moved": None,
        "new": 4,
        "beyond": None,
        "off": None,
    }
    assert left.coming == {"less", "moved", "beyond"}
    assert left.backends == begun.backends


def test_a_backend_that_speaks_another_version_of_http_is_another_one() -> None:
    slot = Slot("127.0.0.1", 1)
    begun = IngressState(
        {"old": 0, "kept": 1}, {0: {1: slot}, 1: {OVER_HTTP2 + 1: slot}}, http2=frozenset({1})
    )
    now = IngressState({"kept": 1, "new": 2}, {1: {OVER_HTTP2 + 1: slot}}, http2=frozenset({1, 2}))

    left = now.left_to(begun, 5)

    assert left.apps == {"kept": 1, "new": None}
    assert (left.coming, left.coming_http2, left.http2) == ({"new"}, {"new"}, {1})


def test_a_node_knows_which_of_its_servers_speak_http_2() -> None:
    slots = {OVER_HTTP2 + 1: Slot(HERE, 1), OVER_HTTP2 + 2: Slot(THERE, 2), OVER_HTTP2 + 3: Slot(THERE, 3)}
    state = replace(SPREAD, backends={0: slots}, http2=frozenset({0}))

    seen = state.seen_from(HERE)

    assert seen.slots(0) == {
        OVER_HTTP2 + 1: Slot("127.0.0.1", 1),
        ELSEWHERE + OVER_HTTP2 + 2: Slot(THERE, 7002),
    }
    assert seen.near == {"b0": "1", "b0.0": "g1"}


HERE, THERE, ELSE = "10.0.0.1", "10.0.0.2", "10.0.0.3"
SPREAD = IngressState(
    {"a": 0},
    {0: {1: Slot(HERE, 4001), 2: Slot(THERE, 4002), 3: Slot(THERE, 4003), 4: Slot(ELSE, 4004)}},
    owners={0: "a"},
    peers={HERE: 7001, THERE: 7002},
)


def test_a_node_finds_its_own_replicas_on_loopback_and_those_of_others_behind_their_ingress() -> None:
    seen = SPREAD.seen_from(HERE)

    assert seen.slots(0) == {1: Slot("127.0.0.1", 4001), ELSEWHERE + 2: Slot(THERE, 7002)}
    assert seen.others() == {Slot(THERE, 7002)}


def test_the_replicas_of_this_node_are_listed_where_there_are_others_too() -> None:
    two_here = replace(SPREAD, peers={**SPREAD.peers, ELSE: 7003}).seen_from(THERE)

    assert two_here.near == {"b0": "2", "b0.0": "s2", "b0.1": "s3"}
    assert replace(SPREAD, peers={}).seen_from(THERE).near == {}
    assert SPREAD.seen_from("10.0.0.9").near == {}


def test_each_replica_stands_for_itself_where_a_browser_keeps_to_one() -> None:
    seen = replace(SPREAD, sticky=frozenset({"a"})).seen_from(HERE)

    assert set(seen.slots(0)) == {1, ELSEWHERE + 2, ELSEWHERE + 3}
    assert seen.near == {}


def test_a_machine_of_its_own_is_seen_as_it_is() -> None:
    alone = IngressState({"a": 0}, {0: {1: Slot("127.0.0.1", 4001)}}, owners={0: "a"})

    assert alone.seen_from("127.0.0.1") == alone
