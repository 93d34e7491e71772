"""An app's server and hooks run on one loop, start to finish."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import http.server
import re
import sys
import threading
import time
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import BackgroundTasks, FastAPI, Request, WebSocket

from flyteray._serve.loop_watch import LoopThread, LoopWatch
from flyteray._serve.servers import ports
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.function import FunctionServer
from flyteray._serve.servers.hosting import Hosting, bind
from flyteray._serve.startup import Startup
from flyteray.errors import RuntimeSystemError, RuntimeUserError
from tests.waiting import eventually

DECLARED = 8080  # what the functions below have hard-coded; nothing is bound to it here


class Running:
    """A hosting with its address and the order of what happened in it."""

    def __init__(self) -> None:
        self.sock = ports.listening_socket("127.0.0.1")
        self.port = int(self.sock.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.happened: list[str] = []
        self.exits: list[BaseException | None] = []

    def asgi(self, app: FastAPI, config: uvicorn.Config | None = None, **hooks: Any) -> Hosting:
        return self._hosting(AsgiServer(app, self.sock, config), **hooks)  # type: ignore[arg-type]

    def function(self, function: Callable[..., Any], **hooks: Any) -> Hosting:
        arguments = hooks.get("arguments", {})
        server = FunctionServer(
            function, arguments, declared=DECLARED, host="127.0.0.1", port=self.port, behind_ingress=True
        )
        return self._hosting(server, **hooks)

    def _hosting(self, server: Any, **hooks: Any) -> Hosting:
        hooks.setdefault("arguments", {})
        return Hosting(server, on_exit=self.exits.append, **hooks)


@pytest.fixture
def running() -> Iterator[Running]:
    running = Running()
    yield running
    running.sock.close()  # held until now: nobody else is given its port


async def until(condition: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, condition)


async def get(url: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.get(url)


def serve(hosting: Hosting, talk: Callable[[], Awaitable[Any]], deadline_s: float = 5.0) -> Any:
    async def main() -> Any:
        await hosting.start()
        try:
            return await talk()
        finally:
            await hosting.stop(deadline_s)

    return asyncio.run(main())


def test_startup_lifespan_handlers_and_shutdown_share_a_loop_and_run_in_order(running: Running) -> None:
    loops: set[int] = set()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def note(what: str) -> None:
        running.happened.append(what)
        loops.add(id(asyncio.get_running_loop()))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        note("lifespan up")
        yield
        note("lifespan down")

    app = FastAPI(lifespan=lifespan)

    @app.get("/")
    async def handler() -> dict[str, Any]:
        note("handler")
        return {"variable": variable.get()}

    async def startup(size: int) -> None:
        note(f"startup {size}")
        variable.set("from startup")

    def shutdown() -> None:
        note("shutdown")

    hosting = running.asgi(app, on_startup=startup, on_shutdown=shutdown, arguments={"size": 3, "other": 4})
    answer = serve(hosting, lambda: get(running.url))

    assert answer.json() == {"variable": "from startup"}
    assert running.happened == ["startup 3", "lifespan up", "handler", "lifespan down", "shutdown"]
    assert len(loops) == 1


def test_a_lifespan_that_raises_is_a_failed_start_with_the_users_exception(running: Running) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise KeyError("no weights")
        yield

    hosting = running.asgi(
        FastAPI(lifespan=lifespan), on_shutdown=lambda: running.happened.append("shutdown")
    )

    with pytest.raises(KeyError, match="no weights"):
        asyncio.run(hosting.start())
    assert running.happened == ["shutdown"]


def test_a_startup_that_raises_is_a_failed_start_and_has_no_shutdown(running: Running) -> None:
    def startup() -> None:
        raise ZeroDivisionError

    hosting = running.asgi(
        FastAPI(), on_startup=startup, on_shutdown=lambda: running.happened.append("shutdown")
    )

    with pytest.raises(ZeroDivisionError):
        asyncio.run(hosting.start())
    assert running.happened == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_startup_that_exits_the_process_is_a_failed_start(running: Running, kind: str) -> None:
    def leaves() -> None:
        raise SystemExit(3)

    async def leaves_async() -> None:
        leaves()

    hosting = running.asgi(FastAPI(), on_startup=leaves if kind == "sync" else leaves_async)

    with pytest.raises(RuntimeUserError, match="on_startup exited with status 3"):
        asyncio.run(hosting.start())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_update_that_exits_the_process_only_fails_itself(running: Running, kind: str) -> None:
    def leaves() -> None:
        raise SystemExit(3)

    async def leaves_async() -> None:
        leaves()

    hosting = running.asgi(small_app())

    async def talk() -> httpx.Response:
        with pytest.raises(RuntimeUserError, match="on_update exited with status 3"):
            await asyncio.to_thread(hosting.update, leaves if kind == "sync" else leaves_async, {})
        return await get(running.url)

    assert serve(hosting, talk).json() == "served"


def test_background_tasks_finish_before_the_shutdown(running: Running) -> None:
    app = FastAPI()
    free = asyncio.Event()

    async def clean_up() -> None:
        await free.wait()
        running.happened.append("background")

    @app.get("/")
    async def root(tasks: BackgroundTasks) -> str:
        tasks.add_task(clean_up)
        asyncio.get_running_loop().call_later(0.2, free.set)
        return "answered"

    hosting = running.asgi(app, on_shutdown=lambda: running.happened.append("shutdown"))

    assert serve(hosting, lambda: get(running.url)).json() == "answered"
    assert running.happened == ["background", "shutdown"]


def test_open_requests_finish_when_the_replica_stops(running: Running) -> None:
    app = FastAPI()
    entered = asyncio.Event()

    @app.get("/slow")
    async def slow() -> str:
        entered.set()
        await asyncio.sleep(0.5)
        return "done"

    async def talk() -> httpx.Response:
        request = asyncio.create_task(get(f"{running.url}/slow"))
        await until(entered.is_set)
        await hosting.stop(5)
        return await request

    hosting = running.asgi(app)
    assert serve(hosting, talk).json() == "done"


def test_websockets_are_closed_with_1012_at_the_deadline(running: Running) -> None:
    app = FastAPI()

    @app.websocket("/ws")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text)

    async def talk() -> int | None:
        async with websockets.connect(f"ws://127.0.0.1:{running.port}/ws") as socket:
            await socket.send("hello")
            assert await socket.recv() == "hello"
            stopping = asyncio.create_task(hosting.stop(5.0))
            await asyncio.sleep(0)
            await socket.send("still here")
            assert await socket.recv() == "still here"
            await socket.wait_closed()
            await stopping
            return socket.close_code

    hosting = running.asgi(app)
    assert serve(hosting, talk) == 1012


class Blocking:
    """An app with a handler that keeps its loop until it is let go."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.let_go = threading.Event()

        @self.app.get("/block")
        async def sleepy() -> None:
            self.let_go.wait(60)


def test_a_blocked_loop_fails_the_check_only_past_the_limit(running: Running) -> None:
    blocking = Blocking()

    def problem() -> str | None:
        try:
            hosting.check()
        except RuntimeUserError as error:
            return error.code
        return None

    async def talk() -> None:
        assert problem() is None
        asked = time.monotonic()
        request = asyncio.create_task(get(f"{running.url}/block"))
        await until(problem)
        assert problem() == "LoopBlocked"
        assert time.monotonic() - asked > 1
        blocking.let_go.set()
        await request
        await until(lambda: problem() is None)

    hosting = running.asgi(blocking.app, lag_limit_s=2)
    serve(hosting, talk)


@pytest.mark.parametrize("kind", ["asgi", "sync function"])
def test_a_blocked_loop_is_told_of_with_the_place_and_told_of_when_it_answers_again(
    running: Running, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    blocking = Blocking()
    told: list[bool] = []

    async def talk() -> None:
        request = asyncio.create_task(get(f"{running.url}/block"))
        await until(lambda: told == [True])
        blocking.let_go.set()
        await request
        await until(lambda: told == [True, False])

    def function() -> None:
        uvicorn.run(blocking.app, port=DECLARED, log_config=None)

    host = (
        functools.partial(running.asgi, blocking.app)
        if kind == "asgi"
        else functools.partial(running.function, function)
    )
    serve(host(on_blocked=told.append), talk)

    assert "is blocked by sleepy() in" in caplog.text
    assert "test_hosting.py" in caplog.text
    assert "answers again" in caplog.text


def test_a_loop_that_has_ended_is_not_blocked() -> None:
    loop = asyncio.new_event_loop()
    watch = LoopWatch(LoopThread(loop, threading.get_ident()), None, 0.0)
    loop.close()

    watch.start()
    watch._thread.join(30)

    watch.check()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_startup_that_takes_too_long_says_where_it_is(running: Running, kind: str) -> None:
    let_go = threading.Event()

    def slow() -> None:
        let_go.wait(30)

    async def slow_async() -> None:
        await asyncio.sleep(60)

    hosting = running.asgi(FastAPI(), on_startup=slow if kind == "sync" else slow_async, start_up=Startup(1))

    with pytest.raises(RuntimeUserError, match="not ready within 1 s: on_startup") as caught:
        asyncio.run(hosting.start())
    let_go.set()
    assert caught.value.code == "StartupTimeout"
    assert f"held up by {slow.__name__ if kind == 'sync' else slow_async.__name__}() in" in str(caught.value)
    assert "let_go.wait(30)" in str(caught.value) or "asyncio.sleep(60)" in str(caught.value)


def test_a_lifespan_that_takes_too_long_is_a_failed_start(running: Running) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.sleep(60)
        yield

    with pytest.raises(RuntimeUserError, match="lifespan has not ended"):
        asyncio.run(running.asgi(FastAPI(lifespan=lifespan), start_up=Startup(0.3)).start())


def test_a_server_function_that_never_listens_on_its_port_is_told_where_it_does(running: Running) -> None:
    stop = threading.Event()

    def elsewhere() -> None:
        with ports.listening_socket("127.0.0.1") as sock:
            sock.listen()
            stop.wait(60)

    hosting = running.function(elsewhere)

    async def main() -> None:
        starting = asyncio.create_task(hosting.start())
        found = re.compile(r"'elsewhere' listens on 127\.0\.0\.1:[0-9]+; expected is port 8080")
        await until(lambda: found.search(hosting.server.waits_for()) is not None)
        stop.set()
        with pytest.raises(RuntimeUserError, match="returned without listening"):
            await starting

    asyncio.run(main())


def test_the_users_uvicorn_settings_count_but_not_where_it_listens(running: Running) -> None:
    app = FastAPI()
    config = uvicorn.Config(app, port=1, headers=[("x-by", "me")], server_header=False, log_config=None)

    answer = serve(running.asgi(app, config), lambda: get(f"{running.url}/docs"))

    assert answer.headers["x-by"] == "me"
    assert "server" not in answer.headers


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def root() -> str:
        return "served"

    return app


async def async_function() -> None:
    await uvicorn.Server(uvicorn.Config(small_app(), port=DECLARED, log_config=None)).serve()


def sync_function() -> None:
    uvicorn.run(small_app(), host="0.0.0.0", port=DECLARED, log_config=None)


def sync_function_on_asyncio() -> None:
    uvicorn.run(small_app(), port=DECLARED, loop="asyncio", log_config=None)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'"served"')

    def log_message(self, *args: Any) -> None:
        pass


def standard_library() -> None:
    with http.server.ThreadingHTTPServer(("", DECLARED), Handler) as server:
        server.serve_forever()


@pytest.mark.parametrize(
    "function", [async_function, sync_function, sync_function_on_asyncio, standard_library]
)
def test_a_server_function_is_reached_on_the_replicas_port_and_ends_gracefully(
    running: Running, function: Callable[..., Any]
) -> None:
    hosting = running.function(function, on_shutdown=lambda: running.happened.append("shutdown"))

    assert serve(hosting, lambda: get(running.url)).json() == "served"
    assert running.happened == ["shutdown"]
    assert running.exits == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_server_function_that_is_stopped_before_it_was_called_is_not_called(
    running: Running, kind: str
) -> None:
    entered, let_go = threading.Event(), threading.Event()

    def startup() -> None:
        entered.set()
        let_go.wait(30)

    async def startup_async() -> None:
        entered.set()
        await until(let_go.is_set)

    async def main() -> None:
        starting = asyncio.create_task(hosting.start())
        await until(entered.is_set)
        stopping = asyncio.create_task(hosting.stop(5))
        await asyncio.sleep(0)
        let_go.set()
        await stopping
        with pytest.raises(RuntimeSystemError, match="ended before it was ready"):
            await starting

    hosting = running.function(
        lambda: running.happened.append("function"),
        on_startup=startup if kind == "sync" else startup_async,
        on_shutdown=lambda: running.happened.append("shutdown"),
    )
    asyncio.run(main())

    assert running.happened == ["shutdown"]


def test_requests_that_a_plain_server_has_open_finish_when_the_replica_stops(running: Running) -> None:
    entered = threading.Event()

    class Slow(Handler):
        def do_POST(self) -> None:
            entered.set()
            time.sleep(1)
            self.do_GET()

    def function() -> None:
        with http.server.ThreadingHTTPServer(("", DECLARED), Slow) as server:
            server.serve_forever()

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(timeout=60) as client:
            return await client.post(running.url)

    async def talk() -> httpx.Response:
        request = asyncio.create_task(post())
        await until(entered.is_set)
        await hosting.stop(30)
        return await request

    hosting = running.function(function, on_shutdown=lambda: running.happened.append("shutdown"))

    assert serve(hosting, talk).json() == "served"
    assert running.happened == ["shutdown"]


def test_a_server_function_gets_the_parameters_that_it_names(running: Running) -> None:
    seen: list[str] = []

    async def function(model: str, size: str = "default") -> None:
        seen.extend([model, size])
        await async_function()

    serve(running.function(function, arguments={"model": "m", "unrelated": "x"}), lambda: get(running.url))
    assert seen == ["m", "default"]


def test_a_server_function_that_returns_early_is_a_failed_start(running: Running) -> None:
    def forgetful() -> None:
        pass

    with pytest.raises(RuntimeUserError, match="'forgetful' returned without listening on port 8080"):
        asyncio.run(running.function(forgetful).start())


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_server_function_that_raises_is_a_failed_start_with_its_exception(
    running: Running, kind: str
) -> None:
    def broken() -> None:
        raise LookupError("nothing there")

    async def broken_async() -> None:
        broken()

    with pytest.raises(LookupError, match="nothing there"):
        asyncio.run(running.function(broken if kind == "sync" else broken_async).start())


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("status", "told"), [(3, "exited with status 3"), ("no key", "exited: no key")], ids=str
)
def test_a_server_function_that_exits_the_process_only_fails_itself(
    running: Running, kind: str, status: Any, told: str
) -> None:
    def leaves() -> None:
        raise SystemExit(status)

    async def leaves_async() -> None:
        leaves()

    with pytest.raises(RuntimeUserError, match=told):
        asyncio.run(running.function(leaves if kind == "sync" else leaves_async).start())


@pytest.mark.parametrize("given", ["application", "factory", "name"])
def test_a_server_function_sees_what_the_ingress_forwards(
    running: Running, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = FastAPI()
    module = types.ModuleType("forwarding")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forwarding", module)
    served: dict[str, Any] = {
        "application": {"app": app},
        "factory": {"app": lambda: app, "factory": True},
        "name": {"app": "forwarding:app"},
    }[given]

    @app.get("/link", name="link")
    async def link(request: Request) -> str:
        return str(request.url_for("link"))

    def function() -> None:
        uvicorn.run(**served, port=DECLARED, log_config=None)

    async def talk() -> httpx.Response:
        async with httpx.AsyncClient(timeout=60) as client:
            headers = {"X-Forwarded-Prefix": "/shop", "X-Forwarded-Host": "apps.example.com"}
            return await client.get(f"{running.url}/link", headers=headers)

    assert serve(running.function(function), talk).json() == "http://apps.example.com/shop/link"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_lifespan_that_raises_in_a_server_function_is_the_users_exception(
    running: Running, kind: str
) -> None:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        raise KeyError("no weights")
        yield

    config = uvicorn.Config(FastAPI(lifespan=lifespan), port=DECLARED, log_config=None)

    def function() -> None:
        uvicorn.Server(config).run()

    async def async_function() -> None:
        await uvicorn.Server(config).serve()

    with pytest.raises(KeyError, match="no weights"):
        asyncio.run(running.function(function if kind == "sync" else async_function).start())


def test_a_server_that_ends_by_itself_is_noticed_at_once(running: Running) -> None:
    servers: list[uvicorn.Server] = []

    async def function() -> None:
        servers.append(uvicorn.Server(uvicorn.Config(small_app(), port=DECLARED, log_config=None)))
        await servers[0].serve()

    hosting = running.function(function, on_shutdown=lambda: running.happened.append("shutdown"))

    async def talk() -> None:
        servers[0].should_exit = True
        await until(lambda: running.exits == [None])
        with pytest.raises(RuntimeUserError, match="has ended"):
            hosting.check()

    serve(hosting, talk)
    assert running.happened == ["shutdown"]


def test_arguments_are_bound_by_name() -> None:
    def named(a: int, b: int = 2) -> None: ...
    def everything(**kwargs: int) -> None: ...

    assert bind(named, {"a": 1, "c": 3}) == {"a": 1}
    assert bind(everything, {"a": 1, "c": 3}) == {"a": 1, "c": 3}
