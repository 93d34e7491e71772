from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from flyteray import Cron
from flyteray._plan.apps import app_spec
from flyteray._plan.spec import AppSpec, CodeRef
from flyteray._plan.triggers.windows import most_ever, sized
from flyteray.app import AppEnvironment, Scaling

HOUR = timedelta(hours=1)
WORK = Scaling.During(Cron("0 8 * * 1-5", "Europe/Berlin"), 10 * HOUR, (2, 8))
LUNCH = Scaling.During(Cron("0 12 * * *", "Europe/Berlin"), HOUR, 12)
NIGHT = Scaling.During(Cron("0 22 * * *", "Europe/Berlin"), 8 * HOUR, 0)


def spec(scaling: Scaling) -> AppSpec:
    return app_spec(
        AppEnvironment(name="a", command="serve", scaling=scaling), CodeRef(bundle="", module="", name="")
    )


def bounds(scaling: Scaling, at: str) -> tuple[int, int, bool]:
    found = sized(spec(scaling), datetime.fromisoformat(at).replace(tzinfo=timezone.utc))
    assert found.scaling is not None
    return found.replicas, found.scaling.most, found.scaling.sleeps_after_s is not None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-03-02 06:59:59", (1, 3, False)),  # a Monday; eight in Berlin is seven
        ("2026-03-02 07:00", (2, 8, False)),
        ("2026-03-02 11:00", (12, 12, False)),  # began last
        ("2026-03-02 12:00", (2, 8, False)),
        ("2026-03-02 17:00", (1, 3, False)),
        ("2026-03-02 21:00", (1, 1, True)),  # may sleep
        ("2026-03-03 04:59", (1, 1, True)),
        ("2026-03-01 10:00", (1, 3, False)),  # a Sunday
        ("2026-03-30 06:00", (2, 8, False)),  # in summer eight in Berlin is six
    ],
)
def test_the_bounds_that_hold_at_a_time(at: str, expected: tuple[int, int, bool]) -> None:
    assert bounds(Scaling((1, 3), schedule=[WORK, LUNCH, NIGHT]), at) == expected


def test_a_fixed_number_has_windows_too_and_an_app_without_them_stays_as_it_is() -> None:
    assert bounds(Scaling(2, schedule=[WORK]), "2026-03-01 10:00") == (2, 2, False)
    plain = spec(Scaling((1, 3)))
    assert sized(plain, datetime.now(timezone.utc)) is plain
    assert (
        most_ever(plain),
        most_ever(spec(Scaling(2))),
        most_ever(spec(Scaling((1, 3), schedule=[LUNCH]))),
    ) == (
        3,
        2,
        12,
    )


def test_windows_are_no_reason_for_another_version() -> None:
    assert spec(Scaling((1, 3))).digest() == spec(Scaling((1, 3), schedule=[WORK])).digest()
