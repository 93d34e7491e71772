"""Have nothing take for ever: limits of time, and what is tried again when it fails.

    python examples/time_limits.py

`timeout=` ends what takes too long, be it asleep or in C, with all that it has started. `retries=` says how often a
task is tried again, `Backoff` how long it pauses before. `NonRecoverableError` says that trying again is of no use. Who
calls a task catches its errors by their class.
"""

from __future__ import annotations

import time
from datetime import timedelta

import flyteray as flyte
from flyteray.errors import MaxRuntimeExceededError, NonRecoverableError, RuntimeUserError

env = flyte.TaskEnvironment(name="couriers")
SOON = flyte.Backoff(base=timedelta(milliseconds=200), factor=2.0, cap=timedelta(seconds=1))


@env.task(timeout=1)
def drive(minutes: int) -> str:
    """Arrive within a second, or not at all."""
    time.sleep(60 * minutes)
    return "delivered"


@env.task(retries=flyte.RetryStrategy(count=3, backoff=SOON))
def ring(door: str) -> str:
    """Ring until somebody opens; where nobody lives there is no use in ringing."""
    attempt = flyte.ctx().attempt_number
    print(f"ringing at {door}, attempt {attempt + 1}")
    if door == "a ruin":
        raise NonRecoverableError("nobody lives here")
    if attempt < 2:
        raise ConnectionError("nobody has heard it")
    return f"opened at {door}"


@env.task(timeout=flyte.Timeout(max_runtime=timedelta(minutes=1), deadline=timedelta(minutes=5)))
def deliver() -> list[str]:
    """Try all; the deadline is for this task with all of its attempts."""
    told = [drive(0), ring("number 7")]
    try:
        drive(10)
    except MaxRuntimeExceededError as error:
        told.append(f"gave up: {error}")
    try:
        ring("a ruin")
    except NonRecoverableError as error:
        told.append(f"for good: {error}")
    return told


def main() -> None:
    run = flyte.run(deliver)
    for line in run.outputs()[0]:
        print("Courier: ", line)

    late = flyte.run(drive, 10)
    late.wait()
    print("A run:   ", late.phase)
    try:
        late.raise_for_status()
    except RuntimeUserError as error:
        print("Raises:  ", type(error).__name__)
    rung = [each for each in run.actions() if each.task == ring.name]
    print("Attempts:", [len(run.attempts(each.action)) for each in rung])


if __name__ == "__main__":
    main()
