"""Tasks that wait for answers."""

from __future__ import annotations

from typing import Any

import flyteray as flyte
from flyteray.errors import ConditionTimedoutError

env = flyte.TaskEnvironment(name="conditions")


@env.task(retries=1)
async def asks(kind: str) -> list[Any]:
    """Asks twice by one name, fails once, and is not to ask again."""
    said = []
    for prompt in ("First?", "Second?"):
        condition = await flyte.new_condition.aio(
            "answer", prompt, data_type={"bool": bool, "int": int}[kind]
        )
        said.append(await condition.wait.aio())
    if flyte.ctx().attempt_number == 0:
        raise ValueError("again")
    return said


@env.task
def gives_up() -> str:
    condition = flyte.new_condition("nobody", timeout=0.5)
    try:
        condition.wait()
    except ConditionTimedoutError:
        return "nobody came"
    return "somebody came"


@env.task
def tells(url: str, app: str) -> str:
    webhook = flyte.ConditionWebhook(url, {"text": "{prompt}", "answer": ["{callback_uri}"]}, app=app)
    said: str = flyte.new_condition("told", "Who?", data_type=str, webhook=webhook).wait()
    return said


@env.task
async def asks_twice_at_once() -> None:
    await flyte.new_condition.aio("same")
    await flyte.new_condition.aio("same")
