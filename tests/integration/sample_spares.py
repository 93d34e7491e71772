"""Apps whose processes tell when they loaded the module, for the tests of spare processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from flyteray import Secret
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment

AT_IMPORT = {name: os.environ.get(name) for name in ("WHO", "SPARES_KEY", "FLYTERAY_REPLICA_PORT")}
FOLDER_AT_IMPORT = str(Path.cwd())


def note(what: str) -> None:
    if journal := os.environ.get("JOURNAL"):
        with Path(journal).open("a") as file:
            file.write(f"{os.getpid()} {what}\n")


note("imported")
if Path(os.environ.get("REFUSE", "/nowhere")).exists():
    raise RuntimeError("This module is not imported today.")


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    note("up")
    yield
    note("down")


api = FastAPI(lifespan=lifespan)
spared = FastAPIAppEnvironment(name="spared", app=api, scaling=Scaling(replicas=1, spare=1))
secretive = FastAPIAppEnvironment(
    name="secretive",
    app=api,
    secrets=[Secret(key="SPARES_KEY", as_env_var="SPARES_KEY")],
    scaling=Scaling(replicas=1, spare=1),
)
plain, plain_too = (
    FastAPIAppEnvironment(name=name, app=api, scaling=Scaling(replicas=1))
    for name in ("plain-one", "plain-two")
)


@api.get("/")
async def root() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "at_import": AT_IMPORT,
        "now": {name: os.environ.get(name) for name in AT_IMPORT},
        "folders": [FOLDER_AT_IMPORT, str(Path.cwd())],
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
