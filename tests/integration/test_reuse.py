from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray.remote import ActionPhase, Secret
from tests.integration import sample_reuse as samples
from tests.processes import processes_of
from tests.waiting import eventually

POOLS = "pool-"  # what the names of their actors begin with

pytestmark = pytest.mark.usefixtures("cluster")


def result(task: Any, *args: Any) -> Any:
    return flyte.run(task, *args).outputs()[0]


def actors_of_pools() -> set[str]:
    found = ray.util.list_named_actors(all_namespaces=True)
    return {each["name"] for each in found if each["name"].startswith(POOLS)}


def noted(journal: Path, number: int) -> list[int]:
    lines = eventually(
        lambda: journal.exists() and len(found := journal.read_text().split()) >= number and found
    )
    return [int(line) for line in lines]


def test_what_modules_have_loaded_is_there_for_the_next_call_and_the_next_run() -> None:
    first, second = result(samples.counts_to, 3), result(samples.counts_to, 3)

    by_process: dict[int, list[int]] = {}
    for pid, number in [*first, *second]:
        by_process.setdefault(pid, []).append(number)
    assert len(by_process) <= 2
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in by_process.values())


def test_a_chain_that_is_longer_than_the_pool_ends() -> None:
    run = flyte.run(samples.chain, 50)

    assert run.outputs()[0] == 50
    actions = eventually(lambda: len(found := run.actions()) == 50 and found)
    assert eventually(lambda: all(each.phase is ActionPhase.SUCCEEDED for each in run.actions())), actions


def test_who_waits_for_a_warm_call_gives_its_cpus_to_what_that_waits_for() -> None:
    assert result(samples.holds_all_and_asks) == "answered"


def test_several_calls_of_async_tasks_meet_in_one_process() -> None:
    met = result(samples.meets_all, 4)

    assert len({pid for pid, _ in met}) == 1
    assert max(most for _, most in met) == 4


def test_calls_beside_one_another_are_spread_over_the_pool() -> None:
    assert len(result(samples.naps_beside)) == 2


def test_a_call_that_takes_too_long_ends_with_its_process_and_the_pool_goes_on() -> None:
    assert "ran for longer than its max_runtime" in result(samples.waits_for_one_that_sleeps)
    assert result(samples.chain, 3) == 3


def test_a_process_that_dies_is_replaced_and_costs_no_attempt(tmp_path: Path) -> None:
    for number in range(3):
        assert result(samples.dies_once, str(tmp_path / f"died-{number}")) > 0


def test_a_call_may_do_without() -> None:
    assert result(samples.off, 1)


def test_a_run_in_a_pool_is_aborted() -> None:
    run = flyte.run(samples.naps, 600.0)
    run.wait(quiet=True, wait_for="running")
    run.abort("enough")

    assert run.phase is ActionPhase.ABORTED
    assert result(samples.chain, 3) == 3


def test_a_pool_that_nobody_uses_ends_and_is_there_again_for_the_next_call() -> None:
    before = actors_of_pools()
    first = result(samples.briefly_beside)
    assert len(first) == 2
    there = actors_of_pools() - before

    assert eventually(lambda: not there & actors_of_pools())
    assert eventually(lambda: not any(psutil.pid_exists(pid) for pid in first))
    assert result(samples.briefly, 0.0) not in first


def test_a_pool_of_one_run_is_no_other_run_s() -> None:
    first, second = result(samples.where_twice), result(samples.where_twice)

    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]


def test_a_warm_process_has_the_variables_and_secrets_of_its_environment() -> None:
    Secret.create("TOKEN_OF_REUSE", "hush")
    try:
        pid, *given = flyte.run(samples.given).outputs()
        again, *other = flyte.with_runcontext(env_vars={"COLOUR": "red"}).run(samples.given).outputs()
    finally:
        Secret.delete("TOKEN_OF_REUSE")

    assert given == ["green", True]
    assert other == ["red", True]
    assert again != pid


def test_a_result_that_is_kept_takes_the_place_of_a_warm_call() -> None:
    first, second = result(samples.computes_twice, 1)

    assert first == second == result(samples.computed_at, 1)


def test_calls_go_on_without_pool_and_controller(cluster: LocalCluster, tmp_path: Path) -> None:
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    running = flyte.run(samples.holds_beside, str(journal), str(gate), 2)
    pids = noted(journal, 2)

    for name in ("ray::Pool", "ray::Controller"):
        for each in processes_of(cluster, name):
            each.kill()
    another = flyte.run(samples.holds_beside, str(journal), str(gate), 2)
    gate.touch()

    assert sorted(running.outputs()[0]) == sorted(pids)
    assert set(another.outputs()[0]) <= set(pids)  # who looks after them has found them again


@pytest.mark.parametrize("root", [True, False], ids=["of a run", "of a parent"])
def test_a_warm_process_that_is_killed_costs_no_attempt(root: bool, tmp_path: Path) -> None:
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    if root:
        run = flyte.run(samples.holds, str(journal), str(gate))
    else:
        run = flyte.run(samples.holds_beside, str(journal), str(gate), 1)
    (pid,) = noted(journal, 1)

    psutil.Process(pid).kill()
    _, last = noted(journal, 2)
    gate.touch()

    assert run.outputs()[0] == (last if root else [last])
    action = "a0" if root else run.actions()[1].action
    ended = [ActionPhase.FAILED, ActionPhase.SUCCEEDED]  # which a worker may report after the output is there
    eventually(lambda: [each.phase for each in run.attempts(action)] == ended)
    assert last != pid
