"""Programs as servers, and servers that misbehave, on a real cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app import AppEnvironment, Parameter, Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import DeploymentError
from flyteray.remote import App
from tests.processes import listening, runs
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

PROGRAM = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = f"{os.getpid()} {os.environ['WHO']} {sys.argv[3]}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
"""

program = AppEnvironment(
    name="servers-program",
    port=8079,
    args=["python", "-c", PROGRAM, "0.0.0.0", "8079", "$WHO-$LEVEL"],
    env_vars={"LEVEL": "high"},
    parameters=[
        Parameter(name="who", value="me", env_var="WHO"),
        Parameter(name="journal", value=""),
    ],
    scaling=Scaling(replicas=3),
)


@program.on_startup
def up(journal: str) -> None:
    note(journal, "up")


@program.on_shutdown
async def down(journal: str) -> None:
    note(journal, "down")


def note(journal: str, what: str) -> None:
    with Path(journal).open("a") as file:
        file.write(f"{what}\n")


unlucky = AppEnvironment(name="servers-unlucky", command=["sh", "-c", "echo no luck today >&2; exit 5"])
killed = AppEnvironment(name="servers-killed", command=["sleep", "600"])


@killed.on_startup
def take_too_much_memory() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


api = FastAPI()
blocking = FastAPIAppEnvironment(name="servers-blocking", app=api, scaling=Scaling(replicas=2))


@api.get("/")
async def root() -> int:
    return os.getpid()


@api.get("/block")
async def block(until: str) -> int:
    while not Path(until).exists():
        time.sleep(0.05)  # noqa: ASYNC251  # the point
    return os.getpid()


mortal_api = FastAPI()
mortal = FastAPIAppEnvironment(name="servers-mortal", app=mortal_api, scaling=Scaling(replicas=4))


@mortal_api.get("/")
async def mine() -> int:
    return os.getpid()


@mortal_api.get("/fatal")
async def end() -> None:
    os._exit(3)


def programs(app: App, replicas: int) -> set[psutil.Process]:
    found: set[psutil.Process] = set()

    def all_found() -> bool:
        with httpx.Client(timeout=60) as client:  # one connection may stay with one replica
            answer = client.get(app.endpoint)
        if answer.is_success:
            found.add(psutil.Process(int(answer.text.split()[0])))
        found.intersection_update({process for process in found if runs(process)})
        return len(found) == replicas

    eventually(all_found)
    return found


def test_programs_serve_are_replaced_and_leave_nothing_behind(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    program.parameters[1] = Parameter(name="journal", value=str(journal))
    app = flyte.serve(program)
    first = programs(app, 3)
    guards = {process.parent() for process in first}
    replicas = {guard.parent() for guard in guards}

    assert httpx.get(app.endpoint, timeout=60).text.endswith(" me me-high")
    assert len(listening(first)) == 3
    next(iter(replicas)).kill()
    eventually(lambda: sum(map(runs, first)) == 2)
    next(filter(runs, first)).kill()
    eventually(lambda: sum(map(runs, first)) == 1)

    second = programs(app, 3)
    guards |= {process.parent() for process in second}
    replicas |= {process.parent().parent() for process in second}
    App.delete(app.name)

    # A replica calls on_shutdown once its program has ended.
    eventually(lambda: not any(map(runs, first | second | guards | replicas)))
    # The one that was killed could not; the one whose program was killed did.
    assert sorted(journal.read_text().split()) == ["down"] * 4 + ["up"] * 5


def test_a_handler_that_ends_its_process_takes_two_replicas_at_most() -> None:
    app = flyte.serve(mortal)
    replicas = programs(app, 4)

    answer = httpx.get(f"{app.endpoint}/fatal", timeout=60)

    assert (answer.status_code, "broke the connection" in answer.text) == (502, True)
    eventually(lambda: sum(map(runs, replicas)) < 4)
    assert sum(map(runs, replicas)) >= 2
    assert httpx.get(app.endpoint, timeout=60).status_code == 200
    App.delete(app.name)


def test_starts_that_fail_are_told_with_how_the_program_or_the_replica_ended() -> None:
    async def serve_both() -> list[App | BaseException]:
        serving = [flyte.serve.aio(env) for env in (unlucky, killed)]
        return await asyncio.gather(*serving, return_exceptions=True)

    errors = asyncio.run(serve_both())

    assert [type(error) for error in errors] == [DeploymentError, DeploymentError]
    assert "exited with status 5" in str(errors[0])
    assert "Last lines of its log:\n  no luck today" in str(errors[0])
    assert "most likely for memory" in str(errors[1])
    App.delete(unlucky.name)
    App.delete(killed.name)


def test_a_blocked_replica_gets_no_requests_while_another_is_free(tmp_path: Path) -> None:
    app = flyte.serve(blocking)
    free = tmp_path / "free"

    def ask(_: int) -> int | None:
        try:
            return int(httpx.get(app.endpoint, timeout=5).json())
        except httpx.TimeoutException:
            return None

    with ThreadPoolExecutor(16) as pool:
        blocked = pool.submit(httpx.get, f"{app.endpoint}/block", params={"until": str(free)}, timeout=120)
        eventually(lambda: any(replica.blocked for replica in app.sync().info.replica_list))
        answers = eventually(lambda: None not in (got := set(pool.map(ask, range(15)))) and got)
        free.touch()

        assert blocked.result().json() not in answers
    eventually(lambda: ask(0) == blocked.result().json())
    App.delete(app.name)
