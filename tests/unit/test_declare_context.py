from __future__ import annotations

from flyteray._declare.context import ActionID, TaskContext, ctx, task_context


def test_outside_tasks_the_context_is_false_and_its_attributes_are_none() -> None:
    context = ctx()

    assert not context
    assert context.mode is None
    assert context.action is None
    assert not context.is_in_cluster()


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
