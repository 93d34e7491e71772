"""Results that are reused on a cluster."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flyteray as flyte
from flyteray._client.session.session import session
from flyteray.errors import RunAlreadyExistsError, RuntimeUserError
from flyteray.remote import ActionPhase, Run, Task
from tests.integration import sample_cache as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def journal(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def noted(journal: str) -> list[str]:
    file = Path(journal)
    return file.read_text().split() if file.exists() else []


def stored(key: str) -> Path:
    return Path(session().connect().storage) / key


def test_a_run_has_the_result_of_an_equal_one_and_says_whose(journal: str) -> None:
    first = flyte.run(samples.double, 101, journal)
    assert first.outputs()[0] == 202
    second = flyte.run(samples.double, 101, journal)

    assert (second.phase, second.outputs()[0]) == (ActionPhase.SUCCEEDED, 202)
    assert (first.cached, second.cached) == (None, first.name)
    assert [(each.action, each.phase, each.cached) for each in second.actions()] == [
        ("a0", ActionPhase.SUCCEEDED, first.name)
    ]
    assert Run.get(second.name).info.cached == first.name
    assert noted(journal) == ["101"]


@pytest.mark.parametrize("parent", [samples.sync_parent, samples.async_parent])
def test_children_are_reused_within_and_between_runs_without_a_worker(parent: Any, journal: str) -> None:
    numbers = [201, 202, 203] if parent is samples.sync_parent else [301, 302, 303]
    first = flyte.run(parent, numbers, journal)
    assert first.outputs()[0] == [2 * number for number in numbers]
    again = flyte.run(parent, [*numbers, numbers[0]], journal)

    assert again.outputs()[0] == [2 * number for number in [*numbers, numbers[0]]]
    assert sorted(noted(journal)) == sorted(map(str, numbers))
    children = eventually(
        lambda: [each for each in again.actions() if each.parent][3:] and again.actions()[1:]
    )
    assert {each.cached for each in children} == {first.name}
    assert {each.started_at for each in children} == {None}
    assert all(stored(f"runs/{again.name}/{each.action}/outputs").exists() for each in children)


def test_a_large_result_is_one_file_of_all_that_have_it(journal: str) -> None:
    first = flyte.run(samples.large, 300_000, journal)
    first.wait(quiet=True)
    second = flyte.run(samples.large, 300_000, journal)

    assert second.outputs()[0].sum() == 2_100_000
    files = [stored(f"runs/{run.name}/a0/outputs") for run in (first, second)]
    assert files[0].samefile(files[1])
    assert second.info.output_bytes == files[1].stat().st_size


def test_a_large_input_counts_by_its_content(journal: str) -> None:
    for values in (np.ones(400_000), np.ones(400_000), np.zeros(400_000)):
        flyte.run(samples.mean, values, journal).wait(quiet=True)

    assert noted(journal) == ["mean", "mean"]


def test_failures_are_not_kept(journal: str) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeUserError):
            flyte.run(samples.fails, 1, journal).outputs()

    assert noted(journal) == ["1", "1"]


def test_a_run_may_want_no_results_or_new_ones_for_all_of_its_tasks(journal: str) -> None:
    def run(**options: Any) -> Run:
        run: Run = flyte.with_runcontext(**options).run(samples.async_parent, [401], journal)
        run.wait(quiet=True)
        return run

    run()
    run(disable_run_cache=True)
    anew = run(overwrite_cache=True)
    last = run()

    assert noted(journal) == ["401"] * 3
    assert eventually(lambda: last.actions()[1:])[0].cached == anew.name


def test_a_file_that_a_task_wrote_is_there_for_who_reuses_it_until_it_is_gone(journal: str) -> None:
    assert [flyte.run(samples.reader, "text", journal).outputs()[0] for _ in range(2)] == ["text", "text"]
    file = flyte.run(samples.written, "text", journal).outputs()[0]
    assert noted(journal) == ["text"]
    Path(file.path).unlink()

    assert flyte.run(samples.reader, "text", journal).outputs()[0] == "text"
    assert noted(journal) == ["text", "text"]


def test_of_equal_children_of_several_runs_one_computes(journal: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    runs = [flyte.run(samples.many_alone, 3, 501, journal, str(go)) for _ in range(2)]
    runs += [flyte.run(samples.alone, 501, journal, str(go)) for _ in range(2)]
    eventually(lambda: noted(journal))
    go.touch()

    assert [run.outputs()[0] for run in runs] == [[501] * 3] * 2 + [501] * 2
    assert noted(journal) == ["501"]


def test_who_has_the_lease_may_be_aborted(journal: str, tmp_path: Path) -> None:
    go = tmp_path / "go"
    first = flyte.run(samples.alone, 601, journal, str(go))
    eventually(lambda: noted(journal))
    second = flyte.run(samples.many_alone, 1, 601, journal, str(go))
    first.abort()
    eventually(lambda: noted(journal) == ["601"] * 2)
    go.touch()

    assert second.outputs()[0] == [601]


def test_a_name_that_is_taken_is_refused_by_a_run_that_computes_nothing_too(journal: str) -> None:
    first = flyte.run(samples.double, 701, journal)
    first.wait(quiet=True)

    with pytest.raises(RunAlreadyExistsError):
        flyte.with_runcontext(name=first.name).run(samples.double, 701, journal)
    assert first.outputs()[0] == 1402


def test_local_mode_and_a_cluster_have_one_cache(journal: str) -> None:
    storage = session().connect().storage
    flyte.init(storage=storage)
    local = flyte.with_runcontext(mode="local")
    here = local.run(samples.double, 801, journal)
    there = flyte.run(samples.double, 801, journal)
    flyte.run(samples.double, 802, journal).wait(quiet=True)

    assert there.cached == here.name
    assert there.outputs()[0] == 1602
    assert local.run(samples.double, 802, journal).outputs()[0] == 1604
    assert noted(journal) == ["801", "802"]


def test_a_deployed_task_reuses_results_and_may_be_overridden(journal: str) -> None:
    flyte.deploy(samples.env, version="cached-1")
    task = Task.get("cached.double", version="cached-1")
    first = flyte.run(task, x=901, journal=journal)
    assert first.outputs()[0] == 1802
    assert flyte.run(task, x=901, journal=journal).outputs()[0] == 1802
    again = flyte.run(samples.double, 901, journal)

    assert again.cached == first.name
    assert noted(journal) == ["901"]
    assert flyte.run(task.override(cache="override"), x=901, journal=journal).outputs()[0] == 1802
    assert flyte.run(task.override(cache="disable"), x=901, journal=journal).outputs()[0] == 1802
    assert noted(journal) == ["901"] * 3


def test_results_of_a_script_are_found_by_the_same_script_and_not_by_an_edited_one(tmp_path: Path) -> None:
    script = tmp_path / "edited.py"

    def said(body: str) -> str:
        script.write_text(
            textwrap.dedent(f"""
                import os
                import flyteray as flyte

                env = flyte.TaskEnvironment("edited")

                @env.task(cache="auto")
                def times(x: int) -> int:
                    return {body}

                if __name__ == "__main__":
                    run = flyte.run(times, 3)
                    print(run.outputs()[0], bool(run.cached))
            """)
        )
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert said("2 * x") == "6 False"
    assert said("2 * x  # twice") == "6 True"
    assert said("4 * x") == "12 False"
    assert said("2 * x") == "6 True"
