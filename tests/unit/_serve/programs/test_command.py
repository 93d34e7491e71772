"""Programs as servers: how they come up, how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flyteray._machine.health import ask_health, ask_port
from flyteray._plan.bundle import bundle
from flyteray._serve.programs.command import CommandServer
from flyteray._serve.servers import ports
from flyteray._serve.servers.hosting import Hosting
from flyteray._serve.startup import Startup
from flyteray.errors import RuntimeSystemError, RuntimeUserError
from tests.processes import runs
from tests.waiting import eventually

SERVER = """
import http.server, os, pathlib, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(404 if self.path == "/health" else 200)
        self.end_headers()
        self.wfile.write(f"{os.getpid()} {os.getcwd()} {self.path}".encode())
    def log_message(self, *args): pass

def serve(host, port, handler=Handler):
    http.server.ThreadingHTTPServer((host, int(port)), handler).serve_forever()
"""


class Running:
    """A folder with a server to import, and the address that its replica has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "server.py").write_text(SERVER)
        self.held = [
            ports.listening_socket("127.0.0.1") for _ in range(2)
        ]  # nobody else is given their ports
        self.port, self.declared = (int(sock.getsockname()[1]) for sock in self.held)
        self.url = f"http://127.0.0.1:{self.port}"
        self.exits: list[BaseException | None] = []
        self.happened: list[str] = []

    def python(self, code: str, *words: str, **options: Any) -> Hosting:
        return self.command(["python", "-c", f"from server import *; {code}", *words], **options)

    def command(self, words: list[str], *, health_path: str = "/health", **options: Any) -> Hosting:
        server = CommandServer(
            words,
            {},
            self.folder,
            declared=self.declared,
            host="127.0.0.1",
            port=self.port,
            ask=functools.partial(ask_health, path=health_path, timeout_s=5),
            behind_ingress=True,
        )
        self.server = server
        return Hosting(server, arguments={}, on_exit=self.exits.append, **options)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    before = set(psutil.Process().children())
    running = Running(tmp_path)
    yield running
    for sock in running.held:
        sock.close()
    assert eventually(lambda: set(psutil.Process().children()) <= before)


def serve(hosting: Hosting, talk: Callable[[], Awaitable[Any]], deadline_s: float = 20.0) -> Any:
    async def main() -> Any:
        await hosting.start()
        try:
            return await talk()
        finally:
            await hosting.stop(deadline_s)

    return asyncio.run(main())


async def get(url: str) -> str:
    async with httpx.AsyncClient(timeout=60) as client:
        return (await client.get(url)).text


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


def test_a_program_serves_from_the_apps_folder_on_the_replicas_port(running: Running) -> None:
    hosting = running.python(
        "serve(sys.argv[1], sys.argv[2])",
        "0.0.0.0",
        str(running.declared),
        on_startup=lambda: running.happened.append("startup"),
        on_shutdown=lambda: running.happened.append("shutdown"),
    )

    pid, folder, path = serve(hosting, lambda: get(f"{running.url}/x")).split()

    assert (folder, path) == (str(running.folder), "/x")
    assert not psutil.pid_exists(int(pid))
    assert running.happened == ["startup", "shutdown"]
    assert running.exits == []


def test_a_program_imports_what_the_apps_code_does(running: Running, own_path: None) -> None:
    made = bundle.pack({"src/sc_shipped.py": b"import server\n"}, ["src"])
    bundle.activate(made.digest, lambda: made.data, running.folder / "cache")

    hosting = running.python("import sc_shipped; serve(os.environ['HOST'], os.environ['PORT'])")

    assert serve(hosting, lambda: get(running.url))


def test_a_program_may_read_its_port_from_the_environment(running: Running) -> None:
    hosting = running.python("serve(os.environ['HOST'], os.environ['PORT'])")

    assert serve(hosting, lambda: get(running.url))


def test_a_shells_script_has_variables_of_its_own(running: Running) -> None:
    code = "from server import *; serve(sys.argv[1], sys.argv[2])"
    script = f'for i in "$PORT"; do exec python -c "{code}" $HOST $i; done'

    assert serve(running.command(["sh", "-c", script]), lambda: get(running.url))


def test_a_program_that_insists_on_the_declared_port_is_taken_as_it_is_and_told_of(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    hosting = running.python(f"serve('127.0.0.1', {running.declared})")
    told = f"127.0.0.1:{running.declared} instead of 127.0.0.1:{running.port}. No second replica fits on this node"

    async def talk() -> str:
        await until(lambda: told in caplog.text)
        return await get(f"http://127.0.0.1:{running.declared}")

    assert serve(hosting, talk)
    assert running.server.port == running.declared


def test_a_program_that_listens_on_all_interfaces_is_told_of(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    hosting = running.python("serve('0.0.0.0', os.environ['PORT'])")

    async def talk() -> None:
        await until(lambda: "past the ingress. Let it take its address from $HOST" in caplog.text)

    serve(hosting, talk)

    assert f"'python' listens on 0.0.0.0:{running.port} instead of 127.0.0.1:{running.port}" in caplog.text


def test_a_program_that_listens_elsewhere_for_a_moment_is_found_where_it_should_be(running: Running) -> None:
    hosting = running.python(
        f"import socket, time; early = socket.create_server(('127.0.0.1', {running.declared}));"
        "go = pathlib.Path('go');\n"
        "while not go.exists(): time.sleep(0.01)\n"
        "early.close(); serve('127.0.0.1', os.environ['PORT'])"
    )

    async def main() -> int:
        starting = asyncio.create_task(hosting.start())
        await until(lambda: running.server.port == running.declared)
        (running.folder / "go").touch()
        await starting
        await hosting.stop(5)
        return running.server.port

    assert asyncio.run(main()) == running.port


SLOW = """
class Slow(Handler):
    def do_POST(self):
        open('asked', 'w').close()
        time.sleep(float(self.headers['x-seconds']))
        self.do_GET()
"""


@pytest.mark.parametrize(("seconds", "deadline_s"), [(1, 20.0), (60, 1.0)], ids=["in time", "too late"])
def test_open_requests_are_answered_before_a_program_is_asked_to_end(
    running: Running, seconds: float, deadline_s: float
) -> None:
    (running.folder / "server.py").write_text(SERVER.replace("import http", "import time, http") + SLOW)
    hosting = running.python("serve('127.0.0.1', os.environ['PORT'], Slow)")

    async def post() -> str:
        async with httpx.AsyncClient(timeout=60) as client:
            return (await client.post(running.url, headers={"x-seconds": str(seconds)})).text

    async def talk() -> str | None:
        request = asyncio.create_task(post())
        await until((running.folder / "asked").exists)
        await hosting.stop(deadline_s)
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
            return await request
        return None

    answer = serve(hosting, talk)

    assert (answer is not None) == (seconds < deadline_s)
    assert running.exits == []


def test_a_program_that_ignores_the_request_to_end_is_killed_with_its_descendants(running: Running) -> None:
    file = running.folder / "stray"
    stray = f"import os,time; os.setsid(); open({str(file)!r},'w').write(str(os.getpid())); time.sleep(600)"
    hosting = running.python(
        "import subprocess; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"subprocess.Popen([sys.executable, '-c', {stray!r}]); serve('127.0.0.1', os.environ['PORT'])"
    )

    async def talk() -> tuple[int, int]:
        await until(lambda: file.exists() and file.read_text() != "")
        return int((await get(running.url)).split()[0]), int(file.read_text())

    served, left = serve(hosting, talk, deadline_s=0.3)

    assert not psutil.pid_exists(served)
    assert not psutil.pid_exists(left)


@pytest.mark.parametrize("victim", ["guard", "program"])
def test_nothing_is_left_when_guard_or_program_is_killed(running: Running, victim: str) -> None:
    hosting = running.python(
        "import subprocess; child = subprocess.Popen(['sleep', '600'], start_new_session=True);"
        "serve('127.0.0.1', os.environ['PORT'])"
    )

    async def talk() -> list[psutil.Process]:
        guard = psutil.Process(running.server._program.pid)  # type: ignore[union-attr]
        tree = [guard, *guard.children(recursive=True)]
        assert len(tree) == 3
        os.kill(tree[0 if victim == "guard" else 1].pid, signal.SIGKILL)
        await until(lambda: running.exits != [])
        return tree

    tree = serve(hosting, talk)

    assert not any(map(runs, tree))
    expected = "ended unseen" if victim == "guard" else "signal 9 (SIGKILL, most likely for memory)"
    assert expected in str(running.exits[0])


def test_nothing_is_left_when_the_replica_is_killed(running: Running) -> None:
    code = f"""
import asyncio, functools, os, time
from pathlib import Path
from flyteray._machine.health import ask_health
from flyteray._serve.programs.command import CommandServer
from flyteray._serve.servers.hosting import Hosting
words = ["python", "-c", "from server import *; serve('127.0.0.1', os.environ['PORT'])"]
server = CommandServer(words, {{}}, Path({str(running.folder)!r}), declared=1, host="127.0.0.1",
    port={running.port}, ask=functools.partial(ask_health, path="/", timeout_s=5))
asyncio.run(Hosting(server, arguments={{}}).start())
holder = os.fork()  # holds everything open that this process has
if holder == 0:
    time.sleep(600)
Path("holder").write_text(str(holder))
os.kill(os.getpid(), 9)
"""
    script = running.folder / "replica.py"
    script.write_text(code)
    replica = psutil.Popen([sys.executable, str(script)], cwd=running.folder, start_new_session=True)
    session = replica.pid
    try:
        tree: list[psutil.Process] = []

        def is_up() -> bool:
            with contextlib.suppress(psutil.Error):
                tree[:] = replica.children(recursive=True) or tree
            return replica.poll() is not None

        eventually(is_up, every=0.01)
        holder = int((running.folder / "holder").read_text())
        left = {each for each in tree if each.pid != holder}
        assert left
        eventually(lambda: not any(map(runs, left)))
        assert not ask_port("127.0.0.1", running.port).is_good
    finally:
        os.killpg(session, signal.SIGKILL)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("sys.exit(3)", "exited with status 3 before it answered"),
        ("sys.exit(0)", "exited with status 0 .* must stay in the foreground"),
        ("os.kill(os.getpid(), 9)", "signal 9 \\(SIGKILL, most likely for memory\\)"),
        ("os.kill(os.getpid(), 15)", "signal 15 \\(SIGTERM\\) before"),
    ],
)
def test_a_program_that_ends_before_it_listens_says_how(running: Running, code: str, told: str) -> None:
    with pytest.raises(RuntimeUserError, match=told) as caught:
        asyncio.run(running.python(code).start())

    assert caught.value.code == "ServerExited"


def test_a_program_that_ends_later_says_how(running: Running) -> None:
    hosting = running.python(
        "import threading; threading.Thread(target=serve, args=('127.0.0.1', os.environ['PORT']),"
        "daemon=True).start(); import time\nwhile not os.path.exists('go'): time.sleep(0.05)\nsys.exit(7)"
    )

    async def talk() -> None:
        (running.folder / "go").touch()
        await until(lambda: running.exits != [])
        with pytest.raises(RuntimeUserError, match="exited with status 7"):
            hosting.check()

    serve(hosting, talk)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "import time; time.sleep(60)",
            "does not listen on any port; expected is an answer on port {declared}",
        ),
        ("serve('127.0.0.1', 0)", "listens on 127.0.0.1:[0-9]+; expected"),
        (
            "Handler.do_GET = lambda self: self.send_error(503); serve('127.0.0.1', os.environ['PORT'])",
            "answers GET /health with status 503",
        ),
        (
            "import socketserver; socketserver.TCPServer.allow_reuse_address = True; "
            "socketserver.TCPServer(('127.0.0.1', int(os.environ['PORT'])), "
            "lambda request, *_: request.sendall(b'220 mail\\r\\n')).serve_forever()",
            "does not speak HTTP",
        ),
    ],
)
def test_while_a_program_is_not_ready_it_is_known_what_it_does(
    running: Running, code: str, told: str
) -> None:
    hosting = running.python(code)
    told = told.format(declared=running.declared)

    async def main() -> None:
        starting = asyncio.create_task(hosting.start())
        await until(lambda: re.search(told, running.server.waits_for()) is not None)
        await hosting.stop(5)
        with pytest.raises(RuntimeSystemError, match="before it was ready"):
            await starting

    asyncio.run(main())


def test_a_program_that_is_not_ready_in_time_is_ended(running: Running) -> None:
    hosting = running.command(["sleep", "600"], start_up=Startup(0.5))

    with pytest.raises(
        RuntimeUserError, match=r"within 0\.5 s: the program 'sleep' does not listen on any port"
    ) as caught:
        asyncio.run(hosting.start())

    assert caught.value.code == "StartupTimeout"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("no-such-program", "no program 'no-such-program'"),
        ("./plain", "not executable"),
        ("./lost", "interpreter"),
        ("./binary", "no program for this machine"),
    ],
)
def test_a_program_that_can_not_be_executed_says_why(running: Running, word: str, told: str) -> None:
    for name, content, mode in (
        ("plain", "#!/bin/sh\n", 0o644),
        ("lost", "#!/no/such/interpreter\n", 0o755),
        ("binary", "\0\1\2", 0o755),
    ):
        (running.folder / name).write_text(content)
        (running.folder / name).chmod(mode)

    with pytest.raises(RuntimeUserError, match=told):
        asyncio.run(running.command([word]).start())


def test_a_variable_that_is_not_set_fails_the_start(running: Running) -> None:
    with pytest.raises(RuntimeUserError, match="no environment variable 'NOWHERE'"):
        asyncio.run(running.command(["python", "$NOWHERE"]).start())


def test_a_guard_starts_quickly(running: Running) -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeUserError):
        asyncio.run(running.command(["false"]).start())

    assert time.monotonic() - began < 10
