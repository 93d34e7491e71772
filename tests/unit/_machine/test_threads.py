from __future__ import annotations

import gc
import sys
import threading
from types import FrameType

import pytest

from flyteray._machine.threads import frame_of


def test_nothing_is_collected_while_a_frame_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    collects = []

    def observed() -> dict[int, FrameType]:
        collects.append(gc.isenabled())
        return there()

    there = sys._current_frames
    monkeypatch.setattr(sys, "_current_frames", observed)

    assert frame_of(threading.get_ident()) is not None
    assert collects == [False]
    assert gc.isenabled()


def test_collecting_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        frame_of(threading.get_ident())
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_thread_that_is_none_has_no_frame() -> None:
    assert frame_of(None) is None
    assert frame_of(-1) is None
