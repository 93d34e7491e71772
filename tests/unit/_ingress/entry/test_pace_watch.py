"""Requests whose bodies are too slow are ended by name, and looking goes on after a failure."""

from __future__ import annotations

import threading

import pytest

from flyteray._ingress.entry.pace import Paces
from flyteray._ingress.entry.pace_watch import PaceWatch
from tests.waiting import eventually


def test_slow_ones_are_ended_and_a_failure_is_none_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flyteray._ingress.entry.pace.MEASURED_S", 0.05)
    failed = threading.Event()
    ended: list[str] = []

    def received() -> dict[str, int]:
        if not failed.is_set():
            failed.set()
            raise OSError("HAProxy starts")
        return {"0x1/7": 3}

    watch = PaceWatch(received, ended.extend, every_s=0.01)
    watch.start()
    try:
        eventually(lambda: ended)
    finally:
        watch.stop()

    assert set(ended) == {"0x1/7"}
    assert Paces().too_slow({"0x1/7": 3}, 0) == []
