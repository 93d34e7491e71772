from __future__ import annotations

import pytest

from flyteray._plan.traffic.figures import NONE_YET, Figures
from flyteray._plan.traffic.shadow import Compared, ShadowRecord, ShadowSpec
from flyteray.app import Shadow

FIRST = Compared(
    copied=3,
    left_out={"many": 2},
    live=Figures(requests=2, classes=(0, 2, 0, 0, 0), latencies=(2, *NONE_YET[1:])),
    shadow=Figures(requests=2, errors=1, classes=(0, 1, 0, 0, 1), latencies=(1, 1, *NONE_YET[2:])),
    otherwise={"500 200": 1},
)


@pytest.mark.parametrize(
    ("share", "parts"), [(100, 10_000), (10, 1000), (0.5, 50), (0.01, 1), (33.333, 3333)]
)
def test_a_share_is_counted_in_ten_thousands(share: float, parts: int) -> None:
    spec = ShadowSpec.of(Shadow(share=share, safe_only=True))
    assert (spec.parts, spec.safe_only) == (parts, True)
    assert spec.share == pytest.approx(share, abs=0.01)


def test_what_came_of_copies_is_summed_and_taken_apart() -> None:
    more = Compared(copied=1, left_out={"large": 1}, otherwise={"404 200": 1})
    both = FIRST + more
    assert (both.copied, both.left_out, both.otherwise) == (
        4,
        {"many": 2, "large": 1},
        {"500 200": 1, "404 200": 1},
    )
    assert both.chosen == 7
    assert both - FIRST == more
    assert both.since(FIRST) == more
    assert more.since(FIRST) == more  # it began anew


def test_a_shadow_counts_on_and_is_read_as_it_was_written() -> None:
    begun = ShadowRecord(name="s1", spec=ShadowSpec(parts=1000)).next_to("v1")
    assert begun.after(Compared()) is begun
    known = begun.after(FIRST).after(FIRST).ended("it was promoted")
    assert (known.outcome, known.reason, known.compared.copied) == ("ended", "it was promoted", 6)
    assert ShadowRecord.model_validate_json(known.model_dump_json()) == known
