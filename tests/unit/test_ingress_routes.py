from __future__ import annotations

import pickle

import pytest

from flyteray._ingress.routes import IngressState, Slot


@pytest.mark.parametrize("name", ["", "A", "a b", "a;b", "a.b", "a\nb", "-a", "a-", "a--b", "a/b"])
def test_a_name_that_is_no_app_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't be an app's name"):
        IngressState({name: 0})


@pytest.mark.parametrize("state", [{"apps": {"a": 128}}, {"apps": {"a": -1}}, {"backends": {128: {}}}])
def test_a_backend_outside_the_pool_is_refused(state: dict[str, dict[object, object]]) -> None:
    with pytest.raises(ValueError, match="no backend"):
        IngressState(**state)  # type: ignore[arg-type]


@pytest.mark.parametrize("slot", [0, 33])
def test_a_slot_outside_the_backend_is_refused(slot: int) -> None:
    with pytest.raises(ValueError, match=f"no slot {slot}"):
        IngressState(backends={0: {slot: Slot("127.0.0.1", 80)}})


@pytest.mark.parametrize(
    ("host", "port"), [("", 80), ("a b", 80), ("1.2.3.4;", 80), ("::1", 0), ("::1", 65536)]
)
def test_an_address_that_is_none_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError, match=r"A replica's (host|port) must be"):
        Slot(host, port)


def test_a_state_travels_between_processes() -> None:
    state = IngressState({"a": 1, "b": None}, {1: {2: Slot("127.0.0.1", 80)}})

    assert pickle.loads(pickle.dumps(state)) == state


def test_without_replicas_the_apps_remain() -> None:
    state = IngressState({"a": 1, "b": None}, {1: {2: Slot("127.0.0.1", 80)}})

    assert state.without_replicas() == IngressState({"a": 1, "b": None})
