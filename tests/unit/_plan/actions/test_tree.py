"""The tree of a run: what is one branch, and what stands below it."""

from __future__ import annotations

from flyteray._plan.actions.tree import Branch, Census, Kind, grown
from flyteray._plan.info import ActionInfo, ActionPhase

P = ActionPhase


def action(
    name: str, parent: str | None, phase: P = P.SUCCEEDED, task: str = "env.f", group: str | None = None
) -> ActionInfo:
    return ActionInfo(
        run="r",
        action=name,
        parent=parent,
        task=task,
        phase=phase,
        attempts=1,
        started_at=None,
        ended_at=None,
        error=None,
        group=group,
    )


def kind(
    parent: str | None,
    number: int,
    phase: P = P.SUCCEEDED,
    task: str = "env.f",
    group: str | None = None,
    cached: bool = False,
) -> Kind:
    return Kind(parent=parent, group=group, task=task, phase=phase, cached=cached, number=number)


ROOT = action("a0", None, P.RUNNING, "env.root")


def tree(kinds: list[Kind], *actions: ActionInfo, lines: dict[str, str] | None = None) -> Branch:
    found = grown(
        Census(kinds=(kind(None, 1, P.RUNNING, "env.root"), *kinds), actions=(ROOT, *actions)), lines or {}
    )
    assert found is not None
    return found


def test_a_run_of_which_nothing_has_begun_has_no_tree() -> None:
    assert grown(Census(kinds=(), actions=()), {}) is None


def test_few_calls_of_a_task_stand_by_themselves_with_what_they_have_called() -> None:
    found = tree(
        [kind("a0", 2), kind("b", 1, task="env.g")],
        action("b", "a0"),
        action("c", "a0"),
        action("d", "b", task="env.g"),
        lines={"d": "at last"},
    )

    assert [(each.action, each.number) for each in found.children] == [("b", 1), ("c", 1)]
    (below,) = found.children[0].children
    assert (below.action, below.task, below.line) == ("d", "env.g", "at last")


def test_many_calls_of_a_task_are_one_branch_that_counts_them() -> None:
    found = tree([kind("a0", 900), kind("a0", 60, P.RUNNING), kind("a0", 40, cached=True)])

    (branch,) = found.children
    assert (branch.action, branch.number, branch.cached) == (None, 1000, 40)
    assert branch.phases == {"succeeded": 940, "running": 60}


def test_a_group_is_a_branch_also_of_few_and_apart_from_other_calls_of_its_task() -> None:
    found = tree(
        [kind("a0", 1, group="mine"), kind("a0", 1)], action("b", "a0", group="mine"), action("c", "a0")
    )

    assert [(each.group, each.action) for each in found.children] == [("mine", None), (None, "c")]
    assert found.children[0].children == ()


def test_below_a_branch_stand_few_of_its_actions_those_that_failed_first() -> None:
    running = [action(f"r{number}", "a0", P.RUNNING, group="mine") for number in range(8)]
    found = tree(
        [kind("a0", 8, P.RUNNING, group="mine"), kind("a0", 2, P.FAILED, group="mine"), kind("s", 1)],
        *running,
        action("f1", "a0", P.FAILED, group="mine"),
        action("f2", "a0", P.TIMED_OUT, group="mine"),
        action("s", "a0", group="mine"),
        action("t", "s"),
    )

    (branch,) = found.children
    assert [each.action for each in branch.children] == ["f1", "f2", "r0", "r1", "r2"]
