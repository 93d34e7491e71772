"""Environments for the tests of deploying."""

from __future__ import annotations

from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import AppEnvironment
from flyteray.app.extras import FastAPIAppEnvironment

base = flyte.TaskEnvironment(name="base")
env = flyte.TaskEnvironment(name="samples", depends_on=[base])
alone = flyte.TaskEnvironment(name="alone")
model = FastAPIAppEnvironment(name="model", app=FastAPI(), depends_on=[env])
front = FastAPIAppEnvironment(name="front", app=FastAPI(), depends_on=[model])
nothing_to_run = AppEnvironment(name="empty")
same_name = flyte.TaskEnvironment(name="base")


class Odd:
    """Its repr is another one in each process."""


@base.task
def seed() -> int:
    return 1


@env.task
def train(rounds: int, rate: float = 0.5, odd: object = Odd()) -> tuple[str, int]:
    """Fit a model."""
    return "", rounds


@alone.task
def lonely() -> None: ...
