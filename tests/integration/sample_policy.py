"""An app whose number of replicas a file says, by a policy of its own."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import Scaling, Signals
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()


@api.get("/")
def pid() -> int:
    return os.getpid()


def by_file(signals: Signals) -> int:
    """What the file says; what it is told goes into the one beside it."""
    wanted = Path(os.environ["WANTED"])
    told = wanted.with_suffix(".told")
    with told.open("a") as file:
        print(os.getpid(), signals.replicas, signals.ready, file=file)
    text = wanted.read_text()
    if text == "raise":
        raise LookupError("the queue is gone")
    if text == "hang":
        threading.Event().wait(600)
    return int(text)


advised = FastAPIAppEnvironment(
    name="advised",
    app=api,
    resources=flyte.Resources(cpu=0.1),
    scaling=Scaling(replicas=(1, 3), policy=by_file, scaledown_after=1),
)
