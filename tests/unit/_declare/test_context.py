from __future__ import annotations

import contextvars

import pytest

import flyteray
from flyteray._declare.context import PromisedContext, TaskContext, ctx, task_context
from flyteray.models import ActionID, GroupData, RawDataPath


def test_outside_tasks_the_context_is_false_and_its_attributes_are_none() -> None:
    context = ctx()

    assert not context
    assert context.mode is None
    assert context.action is None
    assert not context.is_in_cluster()
    assert context.group_data is None
    assert context.rank is None


def test_inside_a_task_the_context_says_which_action_runs() -> None:
    bound = TaskContext(ActionID("a0", "run-1"), attempt_number=2, raw_data_path="s3://bucket/run-1")
    token = task_context.set(bound)
    try:
        context = ctx()
    finally:
        task_context.reset(token)

    assert context
    assert context is bound
    assert context.is_in_cluster()


def test_the_path_of_an_actions_files_is_a_text_and_has_flytes_attributes() -> None:
    bound = TaskContext(ActionID("a0"), raw_data_path=RawDataPath("s3://bucket/run-1/"))

    assert bound.action.run_name == "a0"
    assert bound.raw_data_path == bound.raw_data_path.path == RawDataPath(path="s3://bucket/run-1/")
    assert type(bound.raw_data_path.path) is str
    first, second = (bound.raw_data_path.get_random_remote_path("x.bin") for _ in range(2))
    assert first != second
    assert (first.rpartition("/")[2], first.count("/")) == ("x.bin", 5)


def test_a_group_is_seen_by_the_task_that_names_it_as_long_as_its_block_lasts() -> None:
    with flyteray.group("outside"):
        assert not ctx()

    bound = TaskContext(ActionID("a0", "run-1"))
    token = task_context.set(bound)
    try:
        with flyteray.group("outer"):
            with flyteray.group("inner"):
                inner = ctx().group_data
            outer = ctx().group_data
        after = ctx()
    finally:
        task_context.reset(token)

    assert (inner, outer, after) == (GroupData("inner"), GroupData("outer"), bound)
    assert bound.group_data is None


def test_a_context_is_copied_with_other_fields_and_more_data() -> None:
    bound = TaskContext(ActionID("a0", "run-1"))

    more = bound.replace(data={"key": 1}).replace(data={"other": 2}, attempt_number=3)

    assert (more["key"], more["other"], more["none"], more.attempt_number) == (1, 2, None, 3)
    assert (bound["key"], bound.attempt_number, more.task_action) == (None, 0, bound.action)
    assert hash(bound) == hash(TaskContext(ActionID("a0", "run-1")))


def test_the_tasks_that_a_task_calls_are_not_in_its_group_themselves() -> None:
    env = flyteray.TaskEnvironment("grouped")

    @env.task
    async def child() -> bool:
        return ctx().group_data is None

    @env.task
    async def parent() -> tuple[str, bool]:
        with flyteray.group("mine"):
            named = ctx().group_data
            return named.name if named else "", await child()

    assert flyteray.with_runcontext(mode="local").run(parent).outputs() == ("mine", True)


def test_a_trace_has_an_action_of_its_own_and_tells_that_of_its_task_still() -> None:
    bound = TaskContext(ActionID("a0", "run-1"))
    inside = bound.replace(action=ActionID("trace", "run-1"), traced_by=bound.action)

    assert bound.task_action == bound.action
    assert (inside.action.name, inside.task_action) == ("trace", bound.action)


def test_what_launchers_tell_processes_that_train_together_is_read_from_their_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context = TaskContext(ActionID("a0"))
    told = {
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "4",
        "NNODES": "5",
        "MASTER_ADDR": "head",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    for name in told:
        monkeypatch.delenv(name, raising=False)
    assert (context.rank, context.master_addr, context.restart_attempt) == (None, None, None)

    for name, value in told.items():
        monkeypatch.setenv(name, value)

    assert (context.rank, context.local_rank, context.world_size, context.local_world_size) == (3, 1, 8, 2)
    assert (context.node_rank, context.nnodes, context.restart_attempt) == (4, 5, 0)
    assert (context.master_addr, context.master_port) == ("head", 29500)
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(ValueError, match="RANK is 'first'"):
        context.rank  # noqa: B018


def test_a_context_that_is_promised_is_made_once_for_who_asks_and_also_where_the_context_was_copied() -> None:
    made = []

    def make() -> TaskContext:
        made.append(TaskContext(ActionID("a0", "run-1")))
        return made[-1]

    bound = contextvars.copy_context()
    bound.run(task_context.set, PromisedContext(make))
    assert not made

    found = [bound.run(ctx), bound.copy().run(ctx), bound.run(ctx)]

    assert found == made * 3
    assert found[0] is found[1] is made[0]
