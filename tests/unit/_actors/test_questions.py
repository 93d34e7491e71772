"""Questions to actors, before they are sent."""

from __future__ import annotations

import asyncio
import copy

import pytest

from flyteray._actors.controller import controller
from flyteray._actors.keeper import keeper
from flyteray._actors.questions import Question, Stub, ask, send


def test_a_question_names_the_part_and_the_method_that_were_called() -> None:
    assert str(controller().runs.get("r1")) == "runs.get"
    assert str(controller().info()) == "info"
    assert str(keeper().holds()) == "holds"


def test_nothing_is_asked_before_it_is_awaited() -> None:
    def refuse() -> None:
        raise ConnectionError("no cluster")

    question = controller(before=refuse).apps.get("a")

    with pytest.raises(ConnectionError, match="no cluster"):
        ask(question)

    async def awaiting() -> None:
        await question

    with pytest.raises(ConnectionError, match="no cluster"):
        asyncio.run(awaiting())


def test_a_stub_has_no_private_names_that_libraries_look_for() -> None:
    stub = Stub("controller")

    assert not hasattr(stub, "__deepcopy__")
    assert isinstance(copy.copy(stub).runs.get("r1"), Question)


def test_only_a_question_can_be_blocked_for_or_sent_off() -> None:
    async def other() -> None:
        pass

    coroutine = other()
    with pytest.raises(AssertionError, match="asked of a stub"):
        ask(coroutine)
    with pytest.raises(AssertionError, match="asked of a stub"):
        send(coroutine)
    coroutine.close()
