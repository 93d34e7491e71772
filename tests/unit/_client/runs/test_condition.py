from __future__ import annotations

import asyncio
import io
import os
import sys
from datetime import timedelta
from typing import Any

import pytest

import flyteray as flyte
from flyteray.errors import ConditionFailedError, ConditionTimedoutError

env = flyte.TaskEnvironment(name="asking")
local = flyte.with_runcontext(mode="local")
LINES = "yes\n7\n0.5\nred\n"


@env.task(retries=1)
async def asks() -> list[Any]:
    said = []
    for kind in (bool, int, float, str):
        condition = await flyte.new_condition.aio("question", prompt="What?", data_type=kind)
        said.append(await condition.wait.aio())
    if flyte.ctx().attempt_number == 0:
        raise ValueError("again")
    return said


@env.task
def asks_once() -> bool:
    answered: bool = flyte.new_condition("approval", timeout=timedelta(seconds=0.2)).wait()
    return answered


def test_in_local_mode_the_terminal_is_asked_and_nobody_is_asked_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(LINES))

    assert local.run(asks).outputs()[0] == [True, 7, 0.5, "red"]
    assert capsys.readouterr().out.count("question: What? [y/n]") == 1


def test_where_there_is_no_terminal_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))

    with pytest.raises(ConditionFailedError, match="'approval' asks on the terminal in local mode"):
        local.run(asks_once)


def test_after_a_wrong_answer_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"perhaps\n{LINES}"))

    assert local.run(asks).outputs()[0] == [True, 7, 0.5, "red"]
    assert "true or false, got 'perhaps'" in capsys.readouterr().out


def test_an_answer_that_does_not_come_in_time_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as silent, os.fdopen(writing, "w") as other:
        monkeypatch.setattr(sys, "stdin", silent)
        with pytest.raises(ConditionTimedoutError, match="'approval'"):
            local.run(asks_once)
        other.write("late\n")


def test_outside_a_task_a_condition_can_be_made_and_not_waited_for() -> None:
    condition = flyte.new_condition("approval", data_type=int)

    assert (condition.name, condition.prompt, condition.data_type) == ("approval", "Approve?", int)
    with pytest.raises(RuntimeError, match=r"^Conditions can only be awaited within a task context\.$"):
        condition.wait()
    with pytest.raises(RuntimeError, match="within a task"):
        asyncio.run(condition.wait.aio())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"data_type": list}, TypeError),
        ({"timeout": 0}, ValueError),
        ({"timeout": timedelta(seconds=-1)}, ValueError),
        ({"prompt_type": "html"}, ValueError),
        ({"webhook": "http://localhost"}, TypeError),
    ],
)
def test_what_can_not_be_asked_is_told(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        flyte.new_condition("approval", **options)


def test_a_webhook_without_an_address_or_without_an_app_for_the_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        flyte.ConditionWebhook("localhost")
    with pytest.raises(ValueError, match="FlyteWebhookAppEnvironment"):
        flyte.ConditionWebhook("http://localhost", payload={"text": ["answer at {callback_uri}"]})
