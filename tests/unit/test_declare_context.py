from __future__ import annotations

from flyteray._declare.context import ActionID, RawDataPath, TaskContext, ctx, task_context


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


def test_the_path_of_an_actions_files_is_a_text_and_has_flytes_attributes() -> None:
    bound = TaskContext(ActionID("a0"), raw_data_path=RawDataPath("s3://bucket/run-1/"))

    assert bound.action.run_name == "a0"
    assert bound.raw_data_path == bound.raw_data_path.path == RawDataPath(path="s3://bucket/run-1/")
    assert type(bound.raw_data_path.path) is str
    first, second = (bound.raw_data_path.get_random_remote_path("x.bin") for _ in range(2))
    assert first != second
    assert (first.rpartition("/")[2], first.count("/")) == ("x.bin", 5)
