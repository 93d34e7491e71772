"""What the cluster can't place, ever or at the moment; it has two CPUs and no GPU."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

import flyteray as flyte
from flyteray.errors import PlacementError
from flyteray.remote import App, AppPhase
from tests.integration import sample_placement as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_task_that_no_node_can_take_fails_at_once_with_what_there_is() -> None:
    problem = r"'huge-tasks.never' can't run here: it asks for 64 CPUs and 1 GiB of memory on one node, .* with 2 CPUs"

    with pytest.raises(PlacementError, match=problem):
        flyte.run(samples.never).outputs()
    with pytest.raises(PlacementError, match=problem):
        flyte.run(samples.parent).outputs()
    small = samples.never.override(resources=flyte.Resources(cpu=0.5))
    assert tuple(flyte.run(small).outputs()) == (None,)


def test_a_version_that_waits_says_what_for_while_the_old_one_serves(tmp_path: Path) -> None:
    app = flyte.serve(samples.first)
    before = time.monotonic()
    with pytest.raises(
        PlacementError, match=r"1 GPU and accelerator T4 on one node, .* no GPUs and no accelerator"
    ):
        flyte.serve(samples.with_gpu)
    with pytest.raises(PlacementError, match=r"asks 3 times for 1 CPU, .*: room for 2"):
        flyte.serve(samples.many)
    assert time.monotonic() - before < 60  # not as long as a start may take
    assert App.get("roomy").info.target == app.info.version

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
