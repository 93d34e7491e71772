"""An app and tasks that are given secrets, and tell only that they were."""

from __future__ import annotations

import asyncio
import hashlib
import os

from fastapi import FastAPI

import flyteray as flyte
from flyteray import Secret
from flyteray.app import AppEnvironment, Scaling
from flyteray.app.extras import FastAPIAppEnvironment

SECRETS: list[str | Secret] = [
    "TOKEN_OF_TESTS",
    Secret("password", group="tests", as_env_var="PASSWORD_OF_TESTS"),
]

api = FastAPI()
app = FastAPIAppEnvironment(name="secretive", app=api, secrets=SECRETS, scaling=Scaling(replicas=1))
lacking_app = AppEnvironment(name="lacking", secrets="NOBODY_MADE_IT", args="sleep 1")
env = flyte.TaskEnvironment(name="secretive-tasks", secrets=SECRETS)
other = flyte.TaskEnvironment(name="other-tasks", env_vars={"OTHER": "1"})
lacking = flyte.TaskEnvironment(name="lacking-tasks", secrets=Secret("made-it", group="nobody"))
at_start: list[str | None] = []


def digests() -> list[str | None]:
    """What was given, as nobody can read it."""
    values = [os.environ.get(name) for name in ("TOKEN_OF_TESTS", "PASSWORD_OF_TESTS")]
    return [value and hashlib.sha256(value.encode()).hexdigest() for value in values]


@app.on_startup
def start() -> None:
    at_start.extend(digests())


@api.get("/")
def root() -> list[list[str | None]]:
    return [at_start, digests()]


@other.task
def without() -> list[str | None]:
    return digests()


@env.task
async def with_secrets() -> list[list[str | None]]:
    return [digests(), *await asyncio.gather(without.aio(), without.override(secrets="TOKEN_OF_TESTS").aio())]


@lacking.task
def never() -> None: ...


@env.task
def parent_of_lacking() -> None:
    never()
