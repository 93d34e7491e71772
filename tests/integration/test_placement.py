"""What the cluster can't place, ever or at the moment; it has two CPUs and no GPU."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import flyteray as flyte
from flyteray._cluster import nodes
from flyteray.errors import ActivationTimeoutError, PlacementError
from flyteray.remote import App, AppPhase
from tests.integration import sample_placement as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_task_that_no_node_can_take_fails_at_once_with_what_there_is() -> None:
    problem = (
        r"'gpu-tasks.never' can't run here: it asks for 1 CPU and 1 GPU on one node, .* 2 CPUs and no GPUs"
    )

    with pytest.raises(PlacementError, match=problem):
        flyte.run(samples.never).outputs()
    with pytest.raises(PlacementError, match=problem):
        flyte.run(samples.parent).outputs()
    small = samples.never.override(resources=flyte.Resources(cpu=0.5))
    assert tuple(flyte.run(small).outputs()) == (None,)


def test_a_task_that_is_larger_than_the_laptop_gets_what_there_is_and_a_warning() -> None:
    with pytest.warns(
        UserWarning, match=r"'huge-tasks.cpus' asks for 64 CPUs, and gets 2 CPUs of this machine"
    ):
        run = flyte.run(samples.cpus)
    assert tuple(run.outputs()) == (2.0, "2")
    with pytest.warns(
        UserWarning, match=r"and 9216 GiB of memory, and gets|for 9216 GiB of memory, and gets"
    ):
        run = flyte.run(samples.cpus.override(resources=flyte.Resources(memory="9Ti")))
    assert tuple(run.outputs()) == (1.0, "1")
    assert tuple(flyte.run(samples.parent_of_huge).outputs()) == (2.0, "2")


def test_a_version_that_waits_says_what_for_while_the_old_one_serves(tmp_path: Path) -> None:
    app = flyte.serve(samples.first)
    before = time.monotonic()
    with pytest.raises(
        PlacementError, match=r"1 GPU and accelerator T4 on one node, .* no GPUs and no accelerator"
    ):
        flyte.serve(samples.with_gpu)
    assert time.monotonic() - before < 60  # not as long as a start may take
    assert App.get("roomy").info.target == app.info.version
    with pytest.warns(
        UserWarning, match=r"'roomy' asks 3 times for 1 CPU, and gets 0\.6666 CPUs of this machine"
    ):
        many = flyte.serve(samples.many)
    assert httpx.get(many.endpoint, timeout=60).json() == "many"
    app = flyte.serve(samples.first)

    released = tmp_path / "released"
    holder = flyte.run(samples.hold_until, str(released))
    with ThreadPoolExecutor() as pool:
        try:
            eventually(lambda: holder.info.phase.value == "running" or holder.sync() is None)
            serving = pool.submit(flyte.serve, samples.wide)
            waiting = eventually(lambda: App.get("roomy").info.waiting)
            assert waiting == "waits for 2 CPUs on one node; free: 1 of 2"
            assert App.get("roomy").status is AppPhase.DEPLOYING
            assert httpx.get(app.endpoint, timeout=60).json() == "first"
        finally:
            released.touch()
        serving.result()
    assert httpx.get(app.endpoint, timeout=60).json() == "wide"
    assert App.get("roomy").info.waiting is None
    App.delete("roomy")


def test_a_replica_that_ends_before_it_had_a_node_asks_for_none_any_more(tmp_path: Path) -> None:
    released = tmp_path / "released"
    holder = flyte.run(samples.hold_until, str(released))
    try:
        eventually(lambda: holder.info.phase.value == "running" or holder.sync() is None)
        with pytest.raises(ActivationTimeoutError):
            flyte.with_servecontext(activate_timeout=1.0).serve(samples.wide)
        eventually(lambda: nodes.look().queued)
        App.delete("roomy")

        eventually(lambda: not nodes.look().queued)
        assert holder.sync().info.phase.value == "running"
    finally:
        released.touch()
    holder.outputs()
