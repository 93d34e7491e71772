from __future__ import annotations

import pytest

import flyteray as flyte
from flyteray._plan.actions.reuse import PLACES, Change, ReplicaState, change, pool_plan, reuse_spec
from flyteray._plan.spec import NO_IMAGE, ReuseSpec
from tests.unit.builders import task_spec

REUSE = ReuseSpec(least=1, most=2, concurrency=1, idle_s=60, scaledown_s=30)


def free(name: str = "a", idle_s: float = 0.0) -> ReplicaState:
    return ReplicaState(name, running=0, calls=0, idle_s=idle_s)


def busy(name: str = "a", calls: int = 1) -> ReplicaState:
    return ReplicaState(name, running=1, calls=calls, idle_s=0.0)


@pytest.mark.parametrize(
    ("states", "coming", "wanted", "unused_s", "expected"),
    [
        pytest.param([], 0, True, 0, Change(start=1), id="the first call starts the least"),
        pytest.param([], 1, True, 0, Change(), id="one that comes is waited for"),
        pytest.param([free()], 0, True, 0, Change(), id="nothing is started where one is free"),
        pytest.param([busy()], 0, True, 0, Change(start=1), id="one more where all are busy"),
        pytest.param([busy()], 1, True, 0, Change(), id="one at a time"),
        pytest.param([busy("a"), busy("b")], 0, True, 0, Change(), id="no more than the most"),
        pytest.param(
            [busy("a", PLACES), busy("b", PLACES)],
            0,
            True,
            0,
            Change(start=1),
            id="one more when all wait for it",
        ),
        pytest.param(
            [free("a", 31), free("b", 40)],
            0,
            False,
            31,
            Change(stop=("b",)),
            id="idle ones end but the least",
        ),
        pytest.param([free("a", 31), busy("b")], 0, False, 31, Change(stop=("a",)), id="busy ones stay"),
        pytest.param([free("a", 29), free("b", 29)], 0, False, 29, Change(), id="none ends too soon"),
        pytest.param(
            [free("a", 61), free("b", 90)],
            0,
            False,
            61,
            Change(stop=("a", "b"), over=True),
            id="all end unused",
        ),
        pytest.param([free("a", 61)], 0, False, 5, Change(), id="somebody has just asked"),
        pytest.param([], 0, False, 61, Change(over=True), id="a pool without any ends"),
    ],
)
def test_a_pool_has_as_many_processes_as_are_needed(
    states: list[ReplicaState], coming: int, wanted: bool, unused_s: float, expected: Change
) -> None:
    assert change(REUSE, states, coming, wanted, unused_s) == expected


def test_a_policy_without_a_least_keeps_none() -> None:
    reuse = REUSE._replace(least=0)

    assert change(reuse, [free("a", 31)], 0, False, 31) == Change(stop=("a",))
    assert change(reuse, [], 0, False, 31) == Change()


def test_a_policy_is_planned_in_seconds() -> None:
    planned = reuse_spec(flyte.ReusePolicy(replicas=(1, 3), idle_ttl=90, concurrency=4, scope="run"))

    assert planned == ReuseSpec(least=1, most=3, concurrency=4, idle_s=90, scaledown_s=30, of_one_run=True)
    assert reuse_spec(None) is None


def test_tasks_of_one_environment_and_code_share_a_pool() -> None:
    def name(task: str, reuse: ReuseSpec = REUSE, run: str = "r", environment: str = "{}") -> str:
        return pool_plan(task_spec(task), reuse, run, environment, NO_IMAGE).name

    of_run = REUSE._replace(of_one_run=True)
    assert name("env.a") == name("env.b") == name("env.a", run="other")
    different = [
        name("env.a"),
        name("else.a"),
        name("env.a", environment='{"num_cpus":2}'),
        name("env.a", of_run),
    ]
    assert len({*different, name("env.a", of_run, run="other")}) == 5
