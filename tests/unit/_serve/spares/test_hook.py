from __future__ import annotations

from collections.abc import Iterator

import pytest

from flyteray._serve.spares import hook
from flyteray._serve.spares.spare import Spare

RAYS = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"


@pytest.fixture(autouse=True)
def anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hook.of_process.cache_clear()
    yield
    hook.of_process.cache_clear()


def test_the_processes_of_a_kind_are_started_with_a_hook() -> None:
    assert hook.variables("", 0) == {}
    assert hook.variables("web-1", 0) == {
        "FLYTERAY_SPARE": "web-1",
        RAYS: "flyteray._serve.spares.hook.begin",
    }
    assert hook.variables("web-1", 2)["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("job", ["01000000", None])
def test_a_process_that_was_started_for_a_job_is_no_spare(
    job: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTERAY_SPARE", "web-1")
    monkeypatch.delenv("RAY_JOB_ID", raising=False)
    if job is not None:
        monkeypatch.setenv("RAY_JOB_ID", job)

    hook.begin()

    assert hook.of_process() is None


def test_a_process_that_was_started_for_nobody_is_a_spare_with_a_port_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path))
    monkeypatch.setenv("FLYTERAY_SPARE", "web-1")
    monkeypatch.setenv("RAY_JOB_ID", "ffffffff")

    spare = hook.of_process()

    assert isinstance(spare, Spare)
    assert spare is hook.of_process()
    assert spare.take().is_dir()
    assert spare.socket.getsockname()[1] > 0
    spare.socket.close()
    if spare.claim is not None:
        spare.claim.close()
