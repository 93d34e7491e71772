"""Which runs the scheduler starts, with a clock that the test holds and a registry that is real."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from flyteray import Cron
from flyteray._actors.controller import Runs
from flyteray._control.registry.registry import Registry
from flyteray._control.triggers.scheduler import Scheduler
from flyteray._plan.info import RunInfo
from flyteray._plan.spec import CodeRef, RunSpec, TaskPlan
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray._plan.triggers.trigger import TriggerSpec
from flyteray._plan.values import pickling
from flyteray._plan.values.pickling import Payload
from flyteray.errors import RuntimeSystemError, SecretNotFoundError
from tests.unit.builders import NOON, run_spec, task_spec

EACH_SECOND = ScheduleSpec.of(Cron("* * * * * *"))


class Started:
    """Records runs as the controller does, for who asks with the scheduler; ``refusal`` is raised instead."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.inputs: dict[str, Any] = {}
        self.refusal: Exception | None = None
        self.dies_after = False
        self.one = asyncio.Event()

    async def start(self, spec: RunSpec, inputs: Payload) -> RunInfo:
        if self.refusal is not None:
            raise self.refusal
        run = self._registry.runs.create(spec, NOON)
        self.inputs[spec.name] = pickling.load(inputs)
        self.one.set()
        await asyncio.sleep(0)  # others may do something, as where a run is sent to a keeper
        if self.dies_after:
            raise asyncio.CancelledError
        return run


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with contextlib.closing(Registry(f"sqlite:///{tmp_path}/registry.sqlite")) as registry:
        yield registry


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at

    def go_on(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def started(registry: Registry) -> Started:
    return Started(registry)


def scheduler(registry: Registry, started: Started, clock: Clock) -> Scheduler:
    return Scheduler(registry, cast(Runs, started), clock)


def keep(registry: Registry, **fields: Any) -> None:
    spec = TriggerSpec(**{"name": "t", "run": run_spec(""), "schedule": EACH_SECOND, **fields})
    registry.triggers.put(spec, pickle.dumps(pickling.dump({"x": 1})), True, NOON)


def test_each_tick_starts_one_run_with_its_time(registry: Registry, started: Started, clock: Clock) -> None:
    keep(registry, time_inputs=("when",))
    looks = scheduler(registry, started, clock)

    async def main() -> None:
        assert await looks.look() == 1.0
        for seconds in (1, 0.5, 0.5, 3):
            clock.go_on(seconds)
            await looks.look()

    asyncio.run(main())
    times = [NOON + timedelta(seconds=second) for second in range(1, 6)]
    assert list(started.inputs.values()) == [{"x": 1, "when": time} for time in times]
    assert registry.triggers.get("env.train", "t").last_tick == times[-1]
    assert registry.triggers.get("env.train", "t").last_run == list(started.inputs)[-1]


def test_a_tick_whose_run_was_recorded_before_the_controller_died_starts_no_other(
    registry: Registry, started: Started, clock: Clock
) -> None:
    keep(registry)
    started.dies_after = True
    clock.go_on(1)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(scheduler(registry, started, clock).look())
    assert registry.triggers.get("env.train", "t").last_tick is None

    started.dies_after = False
    clock.go_on(1)
    asyncio.run(scheduler(registry, started, clock).look())

    assert len(started.inputs) == len(registry.runs.listall()) == 2
    assert registry.triggers.get("env.train", "t").last_tick == clock.at


def test_what_will_never_do_is_told_and_left_and_what_may_be_over_soon_is_tried_again(
    registry: Registry, started: Started, clock: Clock
) -> None:
    keep(registry)
    looks = scheduler(registry, started, clock)
    started.refusal = SecretNotFoundError("There is no secret 's'.")
    clock.go_on(1)
    asyncio.run(looks.look())
    refused = registry.triggers.get("env.train", "t")
    assert (refused.last_tick, refused.error) == (clock.at, "SecretNotFoundError: There is no secret 's'.")

    started.refusal = RuntimeSystemError("Away", "The storage is away.")
    clock.go_on(1)
    assert asyncio.run(looks.look()) > 0
    assert registry.triggers.get("env.train", "t").last_tick == clock.at - timedelta(seconds=1)
    started.refusal = None
    clock.go_on(1)
    asyncio.run(looks.look())

    assert len(started.inputs) == 2
    assert registry.triggers.get("env.train", "t").error is None


def test_one_that_is_switched_off_meanwhile_starts_no_more(
    registry: Registry, started: Started, clock: Clock
) -> None:
    keep(registry)
    clock.go_on(5)

    async def main() -> None:
        looking = asyncio.create_task(scheduler(registry, started, clock).look())
        await started.one.wait()
        registry.triggers.set_active("env.train", "t", False, clock.at)
        await looking

    asyncio.run(main())
    assert len(started.inputs) == 1


def test_the_newest_version_is_that_of_the_moment(registry: Registry, started: Started, clock: Clock) -> None:
    keep(registry, newest=True)
    looks = scheduler(registry, started, clock)
    for version in ("v1", "v2"):
        task = task_spec(code=CodeRef(bundle=version, module="m", name="n"), version=version)
        clock.go_on(1)
        asyncio.run(registry.tasks.deploy([TaskPlan(spec=task)], clock.at))
        asyncio.run(looks.look())

    versions = [registry.runs.spec(run).task.version for run in started.inputs]
    assert versions == ["v1", "v2"]


def test_it_waits_for_what_comes_next_and_is_woken_by_a_change(
    registry: Registry, started: Started, clock: Clock
) -> None:
    looks = scheduler(registry, started, clock)

    async def main() -> None:
        assert await looks.look() == 30.0
        running = asyncio.create_task(looks.run())
        await asyncio.sleep(0)
        clock.go_on(5)
        keep(registry)
        looks.changed()
        await started.one.wait()
        running.cancel()

    asyncio.run(asyncio.wait_for(main(), 20))
    assert next(iter(started.inputs)).startswith("t-20260301T120001-")
