"""Does a trigger lose a tick, or start two runs for one, when the controller is killed?

A trigger fires each second; each run writes down the tick that it was given and when it began, in a file of its own
that a second run for the same tick would make longer. In the middle the controller is killed, as often as is said.

    python -m benchmarks.trigger_ticks [--seconds 60] [--kills 1]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import median

import flyteray as flyte
from benchmarks import harness
from flyteray._cluster import local
from flyteray._settings import Settings
from flyteray.remote import Run, Trigger
from tests.processes import process

env = flyte.TaskEnvironment("ticks")
TASK = "ticks.note"


@env.task
def note(when: datetime, folder: str) -> None:
    with (Path(folder) / f"{when:%Y%m%dT%H%M%S}").open("a") as file:
        file.write(f"{time.time() - when.timestamp():.3f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--kills", type=int, default=1)
    given = parser.parse_args()
    with harness.local_cluster(), tempfile.TemporaryDirectory() as folder:
        flyte.deploy(env)
        flyte.run(note, datetime(2000, 1, 1, tzinfo=timezone.utc), tempfile.gettempdir()).wait(quiet=True)
        cluster = local.find(Settings.load())
        assert cluster is not None
        inputs = {"when": flyte.TriggerTime, "folder": folder}
        Trigger.create(flyte.Trigger("t", flyte.Cron("* * * * * *"), inputs=inputs), TASK)
        began = time.monotonic()
        for kill in range(1, given.kills + 1):
            time.sleep(max(0.0, began + given.seconds * kill / (given.kills + 1) - time.monotonic()))
            process(cluster, "ray::Controller").kill()
            harness.progress(f"the controller was killed after {time.monotonic() - began:.1f} s")
        harness.until(lambda: len(os.listdir(folder)) >= given.seconds, 2 * given.seconds)
        Trigger.update("t", TASK, active=False)
        runs = [run for run in Run.listall(task_name=TASK, limit=10_000) if run.name.startswith("t-")]
        for run in runs:
            run.wait(quiet=True)
        ticks = {name: (Path(folder) / name).read_text().split() for name in sorted(os.listdir(folder))}
    times = [datetime.strptime(name, "%Y%m%dT%H%M%S") for name in ticks]
    span = (times[-1] - times[0]) // timedelta(seconds=1) + 1
    late = sorted(float(lines[0]) for lines in ticks.values())
    doubled = sum(len(lines) - 1 for lines in ticks.values())
    harness.report(
        "trigger_ticks",
        f"A trigger each second, the controller killed {given.kills}x",
        ["ticks", "lost", "doubled", "runs", "median s late", "most s late"],
        [[span, span - len(ticks), doubled, len(runs), median(late), late[-1]]],
        {"late_s": ticks},
    )


if __name__ == "__main__":
    main()
