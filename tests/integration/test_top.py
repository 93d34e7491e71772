"""``flyteray top`` on a cluster: as JSON, in a pipe, and live in a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.cli.verbs.status import top
from flyteray.remote import App

api = FastAPI()
env = FastAPIAppEnvironment(name="watched", app=api)


@api.get("/")
def hello() -> str:
    return "hello"


@pytest.fixture(scope="module")
def app(cluster: Any) -> Iterator[App]:
    served: App = flyte.with_servecontext(version="v1").serve(env)
    goes, ended = threading.Event(), threading.Event()

    def ask() -> None:
        with httpx.Client() as client:
            while not ended.wait(0.05):
                client.get(f"{served.endpoint}/", timeout=60)
                goes.set()

    asking = threading.Thread(target=ask)
    asking.start()
    assert goes.wait(60)
    yield served
    ended.set()
    asking.join()
    App.delete("watched")


def shown(*arguments: str) -> Result:
    return CliRunner().invoke(top, arguments)


@pytest.mark.usefixtures("app")
def test_programs_get_rates_latencies_and_replicas() -> None:
    done = shown("watched", "--interval", "1", "--json")

    assert done.exit_code == 0, done.output
    [found] = json.loads(done.stdout)
    assert found["app"] == "watched"
    assert found["requests_per_s"] > 1
    assert 0 < found["p50_ms"] <= found["p95_ms"]
    assert (found["errors"], found["ready"], found["wanted"], found["versions"]) == (0.0, 1, 1, [])


@pytest.mark.usefixtures("app")
def test_in_a_pipe_it_is_a_table_once() -> None:
    done = shown("--interval", "0.5")

    assert done.exit_code == 0, done.output
    head, *lines = done.stdout.splitlines()
    [line] = [line for line in lines if line.startswith("watched")]
    assert head.split() == [
        *(
            "APP",
            "REQUESTS",
            "PER",
            "S",
            "P50",
            "MS",
            "P95",
            "MS",
            "ERRORS",
            "OPEN",
            "QUEUED",
            "WAITING",
            "REPLICAS",
        )
    ]
    assert line.split()[-1] == "1"


@pytest.mark.usefixtures("app")
def test_an_app_that_does_not_run_is_told_with_those_that_do() -> None:
    done = shown("wached")

    assert done.exit_code == 1
    assert "Nothing runs of an app 'wached'" in f"{done.output}{done.exception}"


@pytest.mark.usefixtures("app")
def test_in_a_terminal_it_goes_on_until_it_is_interrupted() -> None:
    ours, theirs = pty.openpty()
    code = "from flyteray.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "top", "watched", "--interval", "0.3"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "COLUMNS": "120", "TERM": "xterm"},
    )
    os.close(theirs)
    heard = b""
    while heard.count(b"watched") < 3:
        heard += os.read(ours, 1 << 16)
    process.send_signal(signal.SIGINT)

    assert process.wait(timeout=60) == 0
    os.close(ours)
