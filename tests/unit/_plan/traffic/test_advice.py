"""What a policy of the user's own returns is a number of replicas, or is told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from flyteray._plan.traffic.advice import Advice, asked
from flyteray.app import Signals

SIGNALS = Signals(replicas=2, ready=2, open=7)


@pytest.mark.parametrize("said", [3, 2.5, 0, -1, math.inf, np.int64(4), np.float32(1.5)])
def test_numbers_are_taken(said: Any) -> None:
    assert asked(lambda signals: said, SIGNALS) == (Advice(replicas=float(said)), None)


@pytest.mark.parametrize("said", [None, "3", True, math.nan, [3], {}])
def test_what_is_no_number_is_told(said: Any) -> None:
    advice, raised = asked(lambda signals: said, SIGNALS)

    assert advice == Advice(problem=f"returned {said!r}, which is no number of replicas")
    assert raised is None


@pytest.mark.parametrize("said", [10**400, np.zeros(2), list(range(10**5))], ids=["huge", "array", "long"])
def test_what_is_odd_is_told_in_short(said: Any) -> None:
    advice, _ = asked(lambda signals: said, SIGNALS)

    assert advice.replicas is None
    assert advice.problem is not None
    assert "which is no number of replicas" in advice.problem
    assert len(advice.problem) < 150


def test_a_policy_that_would_leave_is_told_as_one_that_raises() -> None:
    def leaving(signals: Signals) -> int:
        raise SystemExit("no queue")

    advice, raised = asked(leaving, SIGNALS)

    assert advice == Advice(problem="raised SystemExit: no queue")
    assert raised is not None
    assert "in leaving" in raised


def test_what_a_policy_raises_is_told_with_its_own_frames() -> None:
    def failing(signals: Signals) -> int:
        raise LookupError(f"no queue for {signals.open}")

    advice, raised = asked(failing, SIGNALS)

    assert advice == Advice(problem="raised LookupError: no queue for 7")
    assert raised is not None
    assert "in failing" in raised
    assert "in asked" not in raised
