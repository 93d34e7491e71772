"""What runs and actions wait for, as it is told."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from typing import Any

from flyteray._control.registry.registry import Registry
from flyteray._control.runs.waiting import Waiting
from flyteray._plan.info import ActionEvent, ActionPhase, RunInfo
from flyteray._plan.placement import ClusterView, Node
from flyteray._plan.spec import EnvironmentSpec, ImageSpec
from tests.unit.builders import run_spec

EARLIER = datetime.now(timezone.utc) - timedelta(seconds=10)
IMAGE = ImageSpec(name="i")
GPU = EnvironmentSpec(num_gpus=1, image=IMAGE)
FULL = ClusterView([Node({"CPU": 4, "GPU": 1}, {"CPU": 2})], [{"CPU": 1, "GPU": 1}])
FREE = ClusterView(FULL.nodes)
FOR_GPU = "waits for 1 GPU on one node; free: 0 of 1"


def create(registry: Registry, name: str, at: datetime = EARLIER, running: bool = False) -> RunInfo:
    registry.runs.create(run_spec(name, environment=GPU), at)
    if running:
        registry.runs.started(name, at)
    return registry.runs.get(name)


def told(registry: Registry, info: RunInfo, cluster: ClusterView, building: bool = False) -> tuple[str, Any]:
    waiting = Waiting(registry, lambda image: building and image == IMAGE, lambda: cluster)
    found = asyncio.run(waiting.run(info))
    return found.phase.value, found.waiting


def event(action: str, phase: ActionPhase, environment: EnvironmentSpec | None = None) -> ActionEvent:
    return ActionEvent(
        run="r", action=action, parent="a0", task="env.t", phase=phase, at=0.0, environment=environment
    )


def test_a_run_waits_for_room_for_its_image_or_for_its_worker(registry: Registry) -> None:
    run = create(registry, "r")

    assert told(registry, run, FULL) == ("waiting_for_resources", FOR_GPU)
    assert told(registry, run, FULL, building=True)[0] == "initializing"
    assert "image, which is being built" in told(registry, run, FREE, building=True)[1]
    assert "worker process" in told(registry, run, FREE)[1]


def test_what_was_asked_for_just_now_is_queued_and_what_has_begun_waits_for_nothing(
    registry: Registry,
) -> None:
    assert told(registry, create(registry, "r", at=datetime.now(timezone.utc)), FREE) == ("queued", None)
    assert told(registry, create(registry, "s", running=True), FULL) == ("running", None)


def test_the_runs_in_front_are_named(registry: Registry) -> None:
    for name in ("r1", "r2", "r3", "r4"):
        create(registry, name, running=True)
    create(registry, "r5")
    create(registry, "r6")

    waiting = told(registry, create(registry, "r7"), FULL)[1]

    assert waiting == f"{FOR_GPU}; running: r4, r3, r2 and others; 2 other runs were queued before it"


def test_children_wait_until_they_begin_or_their_run_ends(registry: Registry) -> None:
    run = create(registry, "r", running=True)
    waiting = Waiting(registry, lambda _: False, lambda: FULL)

    def seen() -> str | None:
        return asyncio.run(waiting.run(run)).waiting

    waiting.record([event(f"a0.{number}", ActionPhase.QUEUED, GPU) for number in (1, 2, 3)])
    assert seen() == "waits for 3 of its actions, which wait for 1 GPU on one node; free: 0 of 1"
    waiting.record([event("a0.1", ActionPhase.RUNNING), event("a0.2", ActionPhase.FAILED)])
    assert seen() == "waits for its action a0.3, which waits for 1 GPU on one node; free: 0 of 1"
    waiting.ended("r")
    assert seen() is None


def test_a_child_that_has_begun_waits_no_more_though_its_parent_says_last_that_it_was_queued(
    registry: Registry,
) -> None:
    run = create(registry, "r", running=True)
    waiting = Waiting(registry, lambda _: False, lambda: FREE)
    for told_of in (event("a0.1", ActionPhase.RUNNING), event("a0.1", ActionPhase.QUEUED, GPU)):
        registry.actions.record([told_of])
        waiting.record([told_of])

    assert asyncio.run(waiting.run(run)).waiting is None
