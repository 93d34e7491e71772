"""What requests have left running ends before the replica does, and keeps it from sleep."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI

from flyteray._serve.background_work import LongWork
from flyteray._serve.servers import ports
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.function import FunctionServer
from flyteray._serve.servers.hosting import Hosting, Server
from tests.waiting import eventually

DECLARED = 8080  # what the functions below have hard-coded; nothing is bound to it here


class Jobs:
    """An app whose handlers leave jobs running that wait until they are let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.done: list[str] = []
        self.kept: set[asyncio.Task[None]] = set()
        self.pool = ThreadPoolExecutor()
        self.periodic: asyncio.Task[None] | None = None
        self.app = FastAPI(lifespan=self._lifespan)
        self.app.post("/{kind}")(self.start)
        self.app.post("/background/sync")(self.background)
        self.app.post("/nothing/sync")(lambda: "started")

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        async def tick() -> None:
            while True:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

        self.periodic = asyncio.create_task(tick())
        yield
        self.done.append("lifespan down")

    async def start(self, kind: str) -> str:
        loop = asyncio.get_running_loop()
        match kind:
            case "task":
                self.kept.add(asyncio.create_task(self.job(kind)))
            case "nested":
                self.kept.add(asyncio.create_task(self._nested()))
            case "executor":
                loop.run_in_executor(None, self.blocking_job, kind)
            case "to_thread":
                self.kept.add(asyncio.ensure_future(asyncio.to_thread(self.blocking_job, kind)))
            case "own pool":
                self.pool.submit(self.blocking_job, kind)
            case "thread":
                threading.Thread(target=self.blocking_job, args=(kind,), name="my-thread").start()
            case "daemon":
                threading.Thread(target=self.blocking_job, args=(kind,), daemon=True).start()
        return "started"

    def background(self, tasks: BackgroundTasks) -> str:
        tasks.add_task(self.blocking_job, "background")
        return "started"

    async def job(self, kind: str) -> None:
        while not self.let_go.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.done.append(kind)

    async def _nested(self) -> None:
        self.kept.add(asyncio.create_task(self.job("nested")))

    def blocking_job(self, kind: str) -> None:
        self.let_go.wait(60)
        self.done.append(kind)


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    jobs = Jobs()
    yield jobs
    jobs.let_go.set()
    jobs.pool.shutdown()


def asgi(jobs: Jobs) -> Server:
    return AsgiServer(jobs.app, ports.listening_socket("127.0.0.1"))  # type: ignore[arg-type]


def function(jobs: Jobs) -> Server:
    with ports.listening_socket("127.0.0.1") as sock:
        port = sock.getsockname()[1]
    return FunctionServer(
        lambda: uvicorn.run(jobs.app, port=DECLARED, log_config=None),
        {},
        declared=DECLARED,
        host="127.0.0.1",
        port=port,
    )


async def posted(server: Server, path: str) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        response = await client.post(f"http://127.0.0.1:{server.port}/{path}")
        assert response.json() == "started"


async def stopped(hosting: Hosting, let_go: threading.Event | None, deadline_s: float = 30.0) -> None:
    stopping = asyncio.create_task(hosting.stop(deadline_s))
    if let_go is not None:
        done, _ = await asyncio.wait([stopping], timeout=0.3)
        assert not done
        let_go.set()
    await stopping


@pytest.mark.parametrize("hosted", [asgi, function])
@pytest.mark.parametrize(
    "path", ["task", "nested", "executor", "to_thread", "own pool", "thread", "background/sync"]
)
def test_what_a_handler_has_left_running_is_waited_for(
    jobs: Jobs, hosted: Callable[[Jobs], Server], path: str
) -> None:
    async def main() -> None:
        server = hosted(jobs)
        hosting = Hosting(server, arguments={})
        await hosting.start()
        await posted(server, path)
        assert hosting.going_on()
        await stopped(hosting, jobs.let_go)

    asyncio.run(main())

    assert jobs.done == [path.partition("/")[0], "lifespan down"]


def test_what_the_lifespan_runs_and_daemons_keep_nobody(jobs: Jobs) -> None:
    async def main() -> None:
        server = asgi(jobs)
        hosting = Hosting(server, arguments={})
        await hosting.start()
        await posted(server, "daemon")
        await posted(server, "nothing/sync")
        await asyncio.to_thread(eventually, lambda: not hosting.going_on())
        await stopped(hosting, None)

    asyncio.run(main())

    assert jobs.done == ["lifespan down"]
    assert jobs.periodic is not None
    assert jobs.periodic.cancelled()  # what is left on the loop is told


def test_what_is_cut_is_named_in_the_log(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = asgi(jobs)
        hosting = Hosting(server, arguments={})
        await hosting.start()
        for path in ("task", "own pool", "thread"):
            await posted(server, path)
        await stopped(hosting, None, 0.2)

    asyncio.run(main())

    assert jobs.done == ["lifespan down"]
    assert [task.cancelled() for task in jobs.kept] == [True]
    assert "within the 0.2 s of its drain" in caplog.text
    assert "which is at job() in" in caplog.text
    assert "call in an executor: Jobs.blocking_job" in caplog.text
    assert "thread my-thread, which is at blocking_job() in" in caplog.text


def test_what_the_handler_of_a_plain_server_has_left_running_is_waited_for(jobs: Jobs) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            threading.Thread(target=jobs.blocking_job, args=("thread",)).start()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'"started"')

    def serve() -> None:
        with http.server.ThreadingHTTPServer(("127.0.0.1", DECLARED), Handler) as server:
            server.serve_forever()

    async def main() -> None:
        with ports.listening_socket("127.0.0.1") as sock:
            port = sock.getsockname()[1]
        server = FunctionServer(serve, {}, declared=DECLARED, host="127.0.0.1", port=port)
        hosting = Hosting(server, arguments={})
        await hosting.start()
        await posted(server, "")
        await stopped(hosting, jobs.let_go)

    asyncio.run(main())

    assert jobs.done == ["thread"]


def test_work_counts_from_when_it_lasts_until_it_lasts_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    going_on: list[Any] = ["endless"]
    lasting = LongWork(lambda: going_on, longest_s=10)

    def look(at: float, *running: str) -> bool:
        now[0] = 100 + at
        going_on[:] = running
        return lasting.look()

    assert [look(0, "a"), look(1, "a"), look(2, "a", "b"), look(9.9, "a", "b")] == [False, True, True, True]
    assert [look(10, "a", "b"), look(11, "a", "b"), look(12, "a", "b")] == [True, True, False]
    assert not look(13)
