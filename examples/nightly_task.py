"""Have a task run by the clock: a trigger starts a run of it at each time, and tells it which time that was.

    python examples/nightly_task.py
    flyteray deploy examples/nightly_task.py books
    flyteray get trigger books.close
    flyteray update trigger nightly books.close --deactivate
    flyteray create trigger books.close hourly --schedule "0 * * * *" --trigger-time-var day
    flyteray delete trigger hourly books.close

The cluster is the clock, also when no script runs. If it was down at midnight it closes the books once it is back.
"""

from __future__ import annotations

from datetime import datetime

import flyteray as flyte
from flyteray.remote import Trigger

books = flyte.TaskEnvironment(name="books")


@books.task(
    triggers=flyte.Trigger(
        "nightly",
        flyte.Cron("0 0 * * *", timezone="Europe/Berlin"),
        inputs={"day": flyte.TriggerTime, "currency": "EUR"},
    )
)
def close(day: datetime, currency: str = "USD") -> str:
    return f"closed the books of {day:%Y-%m-%d} in {currency}"


def main() -> None:
    flyte.deploy(books)
    nightly = Trigger.get(name="nightly", task_name="books.close")
    print(f"Next run: {nightly.next_time}")
    print(f"One now: {flyte.run(nightly, currency='CHF').outputs()[0]}")  # by hand, with another input
    nightly.deactivate()


if __name__ == "__main__":
    main()
