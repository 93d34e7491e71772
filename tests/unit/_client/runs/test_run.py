"""What a run may be told, without a cluster."""

from __future__ import annotations

from typing import Any

import pytest

import flyteray as flyte
from flyteray._plan.spec import Caching, RunWide

env = flyte.TaskEnvironment("told")


@env.task
def told() -> list[dict[str, str]]:
    with flyte.custom_context(more="here"):
        return [told_here(), flyte.ctx().custom_context or {}]


@env.task
def told_here() -> dict[str, str]:
    return flyte.get_custom_context()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"mode": "hybrid"}, ValueError),
        ({"mode": "elsewhere"}, ValueError),
        ({"copy_style": "custom"}, ValueError),
        ({"copy_style": "none"}, ValueError),
        ({"max_action_concurrency": 1}, ValueError),
        ({"max_action_concurrency": -3}, ValueError),
        ({"env_vars": {"A": 1}}, ValueError),
        ({"tracked": True}, ValueError),
        ({"mode": "remote", "tracked_strict": True}, ValueError),
        ({"cache_lookup_scope": "planet"}, ValueError),
        ({"log_format": "xml"}, ValueError),
        ({"custom_context": {"a": 1}}, TypeError),
        ({"raw_data_path": 3}, TypeError),
        ({"raw_data_path": "s3:/bucket"}, ValueError),
        ({"flavour": "mint"}, TypeError),
    ],
    ids=str,
)
def test_what_can_not_be_is_refused(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        flyte.with_runcontext(**options)


def test_what_changes_nothing_is_said() -> None:
    with pytest.warns(UserWarning, match="with_runcontext") as said:
        flyte.with_runcontext(
            service_account="robot",
            queue="gpu",
            project="p",
            debug=True,
        )

    told = " ".join(str(each.message) for each in said)
    options = [
        "service_account",
        "queue",
        "project",
        "debug",
    ]
    assert [option for option in options if option not in told] == []


def test_what_asks_for_nothing_is_not_spoken_of() -> None:
    assert flyte.with_runcontext(interruptible=True, max_action_concurrency=0).wide == RunWide()


def test_what_a_run_says_of_results_that_are_kept_goes_for_all_of_its_tasks() -> None:
    asked = flyte.with_runcontext(
        overwrite_cache=True, disable_run_cache=True, cache_lookup_scope="project-domain"
    )

    assert asked.wide == RunWide(caching=Caching(disabled=True, overwrite=True, own_project=True))


def test_levels_of_logs_are_variables_and_ones_own_go_before_them() -> None:
    wide = flyte.with_runcontext(
        log_level=10, log_format="json", user_log_level="INFO", env_vars={"LOG_LEVEL": "50"}
    ).wide

    assert wide.env_vars == {"LOG_LEVEL": "50", "LOG_FORMAT": "json", "USER_LOG_LEVEL": "INFO"}


def test_what_is_told_reaches_the_tasks_of_a_local_run() -> None:
    run = flyte.with_runcontext(mode="local", custom_context={"by": "driver"}).run(told)

    assert run.outputs()[0] == [{"by": "driver", "more": "here"}] * 2
    assert flyte.get_custom_context() == {}


def test_context_and_groups_take_texts() -> None:
    with pytest.raises(TypeError, match="custom_context: a"), flyte.custom_context(a=1):  # type: ignore[arg-type]
        pass
    with pytest.raises(TypeError, match="group"), flyte.group(3):  # type: ignore[arg-type]
        pass
    with flyte.group("anything"):
        assert not flyte.ctx()


@pytest.mark.parametrize("verb", [flyte.remote.Run.get, flyte.rerun])
def test_the_name_of_a_run_is_a_text(verb: Any) -> None:
    with pytest.raises(TypeError, match="the name of a run must be a str, got None"):
        verb(None)
