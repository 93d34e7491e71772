from __future__ import annotations

from typing import Any

import pytest

from flyteray._plan.info import ShadowFigures, ShadowInfo
from flyteray.cli.nouns.shadow import words


def info(**fields: Any) -> ShadowInfo:
    simplest: dict[str, Any] = {
        "outcome": "running",
        "reason": None,
        "share": 10.0,
        "safe_only": False,
        "beside": "v1",
        "copied": 412,
        "left_out": {},
        "compared": 412,
        "otherwise": {},
        "shadow": ShadowFigures(classes={"2xx": 412}, p50_s=0.0312, p90_s=0.05),
        "live": ShadowFigures(classes={"2xx": 412}, p50_s=0.0239, p90_s=0.04),
    }
    return ShadowInfo(**{**simplest, **fields})


NONE = ShadowFigures(classes={}, p50_s=None, p90_s=None)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (info(), "10%: 412 copied, 0 answered otherwise, median 31 ms beside 24 ms"),
        (
            info(otherwise={"500 200": 3}),
            "10%: 412 copied, 3 answered otherwise (3 with 500 where v1 said 200), median 31 ms beside 24 ms",
        ),
        (
            info(share=0.5, safe_only=True, copied=500, left_out={"many": 5, "large": 2}),
            "0.5% of GET, HEAD and OPTIONS: 500 copied, 412 of them compared, 0 answered otherwise, median 31 ms "
            "beside 24 ms, 7 not copied (2 large, 5 many open already)",
        ),
        (
            info(outcome="ended", reason="it was promoted", copied=0, compared=0, shadow=NONE, live=NONE),
            "ended: it was promoted: 0 copied, 0 answered otherwise",
        ),
        (
            info(otherwise={"500 200": 3, "404 200": 9, "400 200": 1, "401 200": 1}, shadow=NONE),
            "10%: 412 copied, 14 answered otherwise (9 with 404 where v1 said 200, 3 with 500 where v1 said 200, "
            "1 with 400 where v1 said 200, and others)",
        ),
    ],
)
def test_a_shadow_is_told_in_a_line(told: ShadowInfo, expected: str) -> None:
    assert words(told) == expected
