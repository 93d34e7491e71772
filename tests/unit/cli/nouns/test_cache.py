from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import flyteray as flyte
from flyteray._client.runs.results import kept_results
from flyteray.cli.root import flyteray

env = flyte.TaskEnvironment(name="shown", cache="auto")
local = flyte.with_runcontext(mode="local")


@env.task
def one(x: int) -> int:
    return x


@env.task
def two(x: int) -> int:
    return x


@pytest.fixture(autouse=True)
def kept(home: Path) -> list[str]:
    return [local.run(task, x).name for task, x in ((one, 1), (one, 2), (two, 1))]


def said(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(flyteray, [*words])
    assert result.exit_code == code, result.output
    return result


def test_results_are_shown_newest_first(kept: list[str]) -> None:
    shown = json.loads(said("get", "cache", "-o", "json").stdout)

    assert [each["run"] for each in shown] == kept[::-1]
    assert {each["action"] for each in shown} == {"a0"}
    assert "shown.one" in said("get", "cache").stdout
    assert len(json.loads(said("get", "cache", "shown.one", "-o", "json").stdout)) == 2
    assert len(json.loads(said("get", "cache", "--limit", "1", "-o", "json").stdout)) == 1


def test_results_of_a_task_are_deleted() -> None:
    assert "2 kept results are deleted" in said("delete", "cache", "shown.one").stderr
    assert [each.task for each in kept_results().entries()] == ["shown.two"]
    assert json.loads(said("delete", "cache", "-o", "json").stdout) == {"task": None, "deleted": 1}


def test_results_of_some_age_are_deleted() -> None:
    assert json.loads(said("delete", "cache", "--older-than", "1 hour", "-o", "json").stdout)["deleted"] == 0
    assert json.loads(said("delete", "cache", "--older-than", "0 s", "-o", "json").stdout)["deleted"] == 3
    assert "no duration" in said("delete", "cache", "--older-than", "soon", code=2).stderr


def test_the_cache_of_local_mode_is_deleted() -> None:
    assert "3 kept results are deleted" in said("delete", "local-cache").stderr
    assert local.run(one, 1).cached is None


@pytest.mark.parametrize("verb", ["get", "delete"])
def test_a_task_of_which_nothing_is_kept_is_told(verb: str) -> None:
    assert "Did you mean 'shown.one'" in said(verb, "cache", "shown.on").stderr


def test_an_age_is_one_of_the_library_too() -> None:
    assert kept_results().delete("shown.two", timedelta(0)) == 1
