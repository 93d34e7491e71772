"""All that comes before an app's first request has one limit, and who exceeds it is named."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.info import STARTUP_TIMEOUT
from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.parameters import Resolver
from flyteray._serve.startup import Startup
from flyteray.errors import RuntimeUserError


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What hangs, until the test has ended."""
    event = threading.Event()
    yield event
    event.set()


def test_a_step_gives_what_its_function_returns_and_sees_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def main() -> str:
        variable.set("seen")
        return await Startup().step("nothing", variable.get)

    assert asyncio.run(main()) == "seen"


def test_what_a_step_raises_arrives_as_it_is() -> None:
    def broken() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(Startup().step("nothing", broken))


def test_a_step_that_exits_the_process_is_an_error() -> None:
    def leaves() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeUserError, match="The app exited with status 3"):
        asyncio.run(Startup().step("nothing", leaves))


def test_a_step_that_hangs_is_told_of_with_its_place_and_not_waited_for(never: threading.Event) -> None:
    def hangs() -> None:
        never.wait(60)

    with pytest.raises(RuntimeUserError, match="with_servecontext") as caught:
        asyncio.run(Startup(1).step("the import of its code has not ended", hangs))

    assert caught.value.code == STARTUP_TIMEOUT
    told = "not ready within 1 s: the import of its code has not ended, it is held up by hangs() in "
    assert told in str(caught.value)
    assert "never.wait(60)" in str(caught.value)


def test_steps_share_one_limit(never: threading.Event) -> None:
    start_up = Startup(30)

    async def main() -> float:
        await start_up.step("the first", lambda: never.wait(0.1))
        return start_up.left_s

    assert asyncio.run(main()) <= 29.9


def test_a_parameter_that_takes_too_long_is_named(
    never: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path / "node"))
    specs = [
        ParameterSpec(name="size", kind="string", value="big"),
        ParameterSpec(name="weights", kind="object", output=OutputRef(task_name="train", run_name="r1")),
    ]
    resolver = Resolver(tmp_path, "shop", lambda _: never.wait(60))

    with pytest.raises(RuntimeUserError, match="parameter 'weights' is still being fetched"):
        asyncio.run(Startup(1).step(resolver.waits_for, lambda: resolver.all(specs)))
