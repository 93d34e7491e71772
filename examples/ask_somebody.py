"""Have a run wait for somebody to say yes: a condition.

    python examples/ask_somebody.py
    flyteray get condition

The run is paused, for seconds or weeks, until it is answered: here from code, else by `flyteray signal condition RUN
release true`, or by a program that was told by a webhook. In local mode the terminal asks.
"""

from __future__ import annotations

import time
from datetime import timedelta

import flyteray as flyte
from flyteray.errors import ConditionTimedoutError
from flyteray.remote import Condition

env = flyte.TaskEnvironment(name="releases")


@env.task
async def release(version: str) -> str:
    good = await flyte.new_condition.aio("release", prompt=f"Release {version}?")
    if not await good.wait.aio():
        return f"{version} stays here"
    share = await flyte.new_condition.aio("share", prompt="For how many percent of the users?", data_type=int)
    return f"{version} is out, for {await share.wait.aio()}%"


@env.task
def hurry() -> str:
    condition = flyte.new_condition("hurry", timeout=timedelta(seconds=0.5))
    try:
        return "answered" if condition.wait() else "refused"
    except ConditionTimedoutError:
        return "nobody came"


def answer(run: flyte.remote.Run, name: str, value: bool | int) -> None:
    """Answer as soon as it is asked."""
    while (condition := Condition.get(name, run_name=run.name)) is None:
        time.sleep(0.1)
    print(f"{condition.prompt} The run is {run.phase}. {value}")
    condition.signal(value)


def main() -> None:
    run = flyte.run(release, "v2")
    answer(run, "release", True)
    answer(run, "share", 5)
    print("So:      ", run.outputs()[0])
    print("In haste:", flyte.run(hurry).outputs()[0])


if __name__ == "__main__":
    main()
