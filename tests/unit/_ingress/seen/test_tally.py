from __future__ import annotations

from flyteray._ingress.seen.lines import Ended, read
from flyteray._ingress.seen.tally import Tally
from flyteray._plan.traffic.figures import NONE_YET, Figures


def ended(status: int, termination: str = "--NN", latency_us: int | None = 500) -> Ended:
    answered = "-" if latency_us is None else 1_000_000 + latency_us
    line = f"1.1 b0 s1 {status} {termination} 1 1 0 0 1000000 {answered} 2000000 - - - - - - hello -"
    request = read(line.encode())
    assert request is not None
    return request


def test_requests_are_counted_by_backend_and_by_how_they_ended() -> None:
    tally = Tally()
    tally.add([(0, ended(200)), (1, ended(503)), (0, ended(404, latency_us=1_050))])
    tally.add([(0, ended(400, "CHNN")), (0, ended(0, latency_us=None))])

    assert tally.figures([0, 1, 2]) == {
        0: Figures(4, 0, 1, (0, 1, 0, 1, 0), 1_550, (1, 1, *NONE_YET[2:])),
        1: Figures(1, 1, 0, (0, 0, 0, 0, 1), 500, (1, *NONE_YET[1:])),
        2: Figures(),
    }


def test_figures_that_were_given_stay_as_they_are() -> None:
    tally = Tally()
    tally.add([(0, ended(200))])
    before = tally.figures([0])[0]
    tally.add([(0, ended(200))])

    assert before.requests == 1
    assert (tally.figures([0])[0] - before).requests == 1
