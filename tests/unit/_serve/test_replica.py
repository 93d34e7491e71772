"""Replicas that end before they have started: stopped meanwhile, or held up. No Ray runs here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

APP = """
import pathlib, time
from flyteray.app import AppEnvironment

env = AppEnvironment(name="shop")

@env.on_startup
def up():
    pathlib.Path("entered").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.01)

@env.on_shutdown
def down():
    print("down", flush=True)

@env.server
def serve():
    print("served", flush=True)
"""
HANGING = """
import time
time.sleep(600)
"""

DRIVE = """
import asyncio
from pathlib import Path
from flyteray._plan.spec import AppSpec, CodeRef, EnvironmentSpec
from flyteray._serve.replica import Replica

async def start(module, limit_s, meanwhile=None):
    spec = AppSpec(name=module, kind="function", code=CodeRef(bundle="", module=module, name="env"),
        environment=EnvironmentSpec(), startup_timeout_s=limit_s)
    replica = Replica.__new__(Replica)  # as Serve makes it, which may call __del__ before __init__ has returned
    starting = asyncio.create_task(replica.__init__(spec.model_dump_json(), f"{module}.v1"))
    if meanwhile is not None:
        await meanwhile(replica)
    try:
        await starting
    except Exception as error:
        print(type(error).__name__, error, flush=True)

async def stop(replica):
    while not Path("entered").exists():
        await asyncio.sleep(0.01)
    stopping = asyncio.create_task(replica.__del__())
    await asyncio.sleep(0)
    Path("go").touch()
    await stopping

async def main():
    await start("shop", 300, stop)
    await start("hanging", 0.5)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What a process writes in which first one replica is stopped while it starts, then another one can't start."""
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "shop.py").write_text(APP)
    (folder / "hanging.py").write_text(HANGING)
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), *sys.path]),
        "FLYTERAY_CACHE": str(folder / "cache" / "bundles"),
        "RAY_ENABLE_AUTO_CONNECT": "0",
    }
    command = [sys.executable, "-c", DRIVE]
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=120, check=True
    )


def test_a_replica_that_is_stopped_while_it_starts_ends_in_order_and_reports_nothing(
    told: subprocess.CompletedProcess[str],
) -> None:
    assert told.stdout.splitlines()[:2] == [
        "down",
        "RuntimeSystemError The replica was stopped while it started.",
    ]
    assert told.stderr.count("The controller did not take") == 1  # the failure of the other


def test_an_import_that_hangs_fails_the_start_and_says_where(told: subprocess.CompletedProcess[str]) -> None:
    assert "within 0.5 s: the import of its code has not ended, it is held up by <module>() in" in told.stdout
    assert "time.sleep(600)" in told.stdout
    assert "The controller did not take apps.replica_failed" in told.stderr
