from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from flyteray import Cron
from flyteray._control.registry.registry import Registry
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray._plan.triggers.trigger import TriggerSpec
from flyteray.errors import TriggerNotFoundError
from tests.unit.builders import NOON, run_spec

HOURLY = ScheduleSpec.of(Cron("@hourly"))


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with contextlib.closing(Registry(url)) as registry:
        yield registry


def spec(name: str = "hourly", task: str = "env.train", **fields: Any) -> TriggerSpec:
    return TriggerSpec(**{"name": name, "run": run_spec("", task), "schedule": HOURLY, **fields})


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_a_deployment_replaces_the_triggers_of_the_one_before(registry: Registry) -> None:
    triggers = registry.triggers
    triggers.put(spec("by hand", declared=False), b"h", True, at(0))
    triggers.replace(["env.train"], [(spec("a"), b"1", True), (spec("b"), b"2", False)], at(0))
    triggers.replace(["env.other"], [(spec("a", "env.other"), b"3", True)], at(0))

    triggers.replace(["env.train"], [(spec("b"), b"4", True), (spec("c"), b"5", True)], at(1))

    assert [each.spec.name for each in triggers.listall("env.train")] == ["b", "by hand", "c"]
    assert triggers.inputs("env.train", "b") == b"4"
    assert [each.spec.task for each in triggers.listall(limit=1)] == ["env.other"]
    assert triggers.get("env.train", "b").created_at == at(0)


def test_an_unchanged_schedule_goes_on_and_another_one_begins_anew(registry: Registry) -> None:
    triggers = registry.triggers
    first = triggers.put(spec(), b"", True, at(0))
    triggers.acted(first, at(60), "run", None)

    same = triggers.put(spec(description="other"), b"", True, at(90))
    changed = triggers.put(spec(schedule=ScheduleSpec.of(Cron("@daily"))), b"", True, at(95))

    assert (same.since, same.last_tick, same.last_run) == (at(0), at(60), "run")
    assert (changed.since, changed.last_tick, changed.created_at) == (at(95), None, at(0))


def test_what_passes_while_it_is_off_is_left_out(registry: Registry) -> None:
    triggers = registry.triggers
    triggers.put(spec(), b"", True, at(0))

    off = triggers.set_active("env.train", "hourly", False, at(10))
    assert triggers.active() == []
    on = triggers.set_active("env.train", "hourly", True, at(200.01))
    again = triggers.set_active("env.train", "hourly", True, at(300))

    assert (off.active, on.active) == (False, True)
    assert on.since == again.since == at(200)
    assert [each.spec.name for each in triggers.active()] == ["hourly"]


def test_a_tick_is_noted_unless_the_trigger_was_put_to_use_anew(registry: Registry) -> None:
    triggers = registry.triggers
    before = triggers.put(spec(), b"", True, at(0))
    triggers.acted(before, at(60), None, "SecretNotFoundError: gone")
    assert triggers.get("env.train", "hourly").error == "SecretNotFoundError: gone"
    triggers.acted(before, at(120), "r2", None)
    found = triggers.get("env.train", "hourly")
    assert (found.last_tick, found.last_run, found.error) == (at(120), "r2", None)

    triggers.set_active("env.train", "hourly", False, at(130))
    triggers.set_active("env.train", "hourly", True, at(140))
    triggers.acted(before, at(180), "r3", None)

    assert triggers.get("env.train", "hourly").last_tick is None


def test_one_without_a_schedule_never_fires_by_itself(registry: Registry) -> None:
    registry.triggers.put(spec(schedule=None), b"", True, at(0))

    assert registry.triggers.active() == []


def test_who_asks_for_what_is_not_there_learns_what_is(registry: Registry) -> None:
    triggers = registry.triggers
    triggers.put(spec(), b"", True, at(0))

    with pytest.raises(TriggerNotFoundError, match=r"no trigger 'hourli'. It has 'hourly'"):
        triggers.get("env.train", "hourli")
    with pytest.raises(TriggerNotFoundError, match=r"'env\.trian' has no triggers.*'env\.train'"):
        triggers.delete("env.trian", "hourly")
    with pytest.raises(TriggerNotFoundError, match="no trigger 'x'"):
        triggers.set_active("env.train", "x", True, at(0))
    with pytest.raises(TriggerNotFoundError, match="no trigger 'x'"):
        triggers.inputs("env.train", "x")
    triggers.delete("env.train", "hourly")
    assert triggers.listall() == []
