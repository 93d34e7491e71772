"""gRPC apps on a real cluster: how they come up, scale, change, say that they are not well, and how they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

import flyteray as flyte
from flyteray.app import AppEnvironment, Port, Scaling, grpc_address
from flyteray.errors import DeploymentError
from flyteray.remote import App
from tests.integration.grpc_talk import NOT_SERVING, SERVING, Chat, Client, Talk, failure, serve
from tests.waiting import eventually, eventually_equal

DECLARED = Port(50051, "h2c")
PROGRAM = """
import asyncio, os, grpc, pathlib

async def main():
    talk = Talk(os.environ["WHO"], NOT_SERVING)
    server = grpc.aio.server(handlers=(talk,))
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    await server.start()
    await asyncio.sleep(1)
    pathlib.Path(os.environ["TOLD"]).write_text("not ready before")
    talk.health = SERVING
    await server.wait_for_termination()

from tests.integration.grpc_talk import NOT_SERVING, SERVING, Talk
asyncio.run(main())
"""
tasks = flyte.TaskEnvironment(name="grpc-callers")


def talker(who: str, replicas: int | tuple[int, int] = 1, name: str = "talker") -> AppEnvironment:
    """A server that names its port as scripts do: for all addresses, and the same in each replica."""
    env = AppEnvironment(
        name=name,
        port=DECLARED,
        env_vars={"WHO": who},
        scaling=Scaling(replicas, scaledown_after=0) if isinstance(replicas, tuple) else Scaling(replicas),
    )
    env.server(_serve)
    return env


def _serve() -> None:
    name = f"{os.environ['WHO']} {os.getpid()}"
    server, _ = serve(Talk(name, SERVING), f"[::]:{DECLARED.port}")
    server.wait_for_termination()


one, two = talker("one"), talker("two")
twins = talker("twin", 2, "grpc-twins")
sleeper = talker("sleeper", (0, 1), "grpc-sleeper")
local = AppEnvironment(name="grpc-local", port=Port(0, "h2c"))
program = AppEnvironment(
    name="grpc-program", port=DECLARED, command=["python", "-c", PROGRAM], env_vars={"WHO": "program"}
)
mistaken = AppEnvironment(
    name="grpc-mistaken", port=DECLARED, command=["sh", "-c", "exec python -m http.server -b 127.0.0.1 $PORT"]
)


@local.server
async def serve_locally() -> None:
    server = grpc.aio.server(handlers=(Talk("local"),))
    server.add_insecure_port(f"[::]:{local.get_port().port}")
    await server.start()
    await server.wait_for_termination()


@tasks.task
async def call_talker() -> str:
    async with grpc.aio.insecure_channel(*grpc_address(one)) as channel:
        answer: bytes = await channel.unary_unary("/test.Talk/Name")(b"", timeout=60)
    return answer.decode()


@contextmanager
def calling(app: AppEnvironment | App) -> Iterator[Client]:
    with grpc.insecure_channel(*grpc_address(app)) as channel:
        yield Client(channel)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    for app in (one, twins, sleeper, program, mistaken):
        App.delete(app.name)


pytestmark = pytest.mark.usefixtures("cluster", "nothing_left")


def test_an_app_is_called_and_deployed_anew_while_a_stream_is_open() -> None:
    app = flyte.serve(one)
    with calling(app) as client:
        assert client.name(b"", timeout=60).startswith(b"one ")
        assert list(client.count(b"3", timeout=60)) == [b"0", b"1", b"2"]
        assert client.join(iter([b"a", b"b"]), timeout=60) == b"ab"
        assert flyte.run(call_talker).outputs()[0].startswith("one ")
        chat = Chat(client, timeout=120)
        first = chat.say(b"")

        flyte.serve(two)

        assert client.name(b"", timeout=60).startswith(b"two ")
        assert chat.say(b"") == first
        assert chat.end() == []
        eventually(lambda: not _runs(int(first.split()[1])))
    with Client(grpc.insecure_channel(f"talker.localhost:{app.url.rpartition(':')[2].strip('/')}")) as client:
        assert client.name(b"", timeout=60).startswith(b"two ")


def _runs(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}")


def test_an_app_sleeps_and_calls_wait_for_it() -> None:
    app = flyte.serve(sleeper)
    with calling(app) as client:
        first = client.name(b"", timeout=60)
        eventually(lambda: app.sync().info.asleep and app.info.ready_replicas == 0)

        call = client.name.future(b"", timeout=60)
        chat = Chat(client, timeout=60)
        joined = client.join(iter([bytes(1 << 20)] * 3), timeout=60)

        assert call.result() != first
        assert chat.say(b"") == call.result()
        assert len(joined) == 3 << 20
        assert app.sync().info.ready_replicas == 1  # a stream keeps it awake
        assert chat.end() == []
        eventually(lambda: app.sync().info.asleep and app.info.ready_replicas == 0)


def test_a_server_that_says_that_it_takes_no_requests_gets_none_while_another_does() -> None:
    app = flyte.serve(twins)

    def names(count: int = 20) -> set[bytes]:
        with calling(app) as client:
            return {client.name(b"", timeout=60) for _ in range(count)}

    both = eventually(lambda: names() if len(names()) == 2 else None)
    assert len({name.split()[1] for name in both}) == 2  # though they name one port
    with calling(app) as client:
        turned = client.turn(NOT_SERVING, timeout=60)

    eventually_equal(names, both - {turned})
    assert [each.unwell for each in app.sync().info.replica_list].count(True) == 1


def test_a_replica_that_dies_with_a_call_is_told_of() -> None:
    app = flyte.serve(one)
    with calling(app) as client:
        code, words = failure(lambda: client.die(b"", timeout=60))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "App 'talker' broke the connection before it answered" in words
        assert client.name(b"", timeout=60).startswith(b"one ")  # of the replica that takes its place


def test_a_program_is_ready_once_it_says_that_it_serves(tmp_path: os.PathLike[str]) -> None:
    told = os.path.join(tmp_path, "told")
    app = flyte.with_servecontext(env_vars={"TOLD": told}).serve(program)

    assert os.path.exists(told)
    with calling(app) as client:
        assert client.name(b"", timeout=60) == b"program"


def test_a_server_of_another_version_of_http_is_not_ready() -> None:
    with pytest.raises(DeploymentError, match=r"speaks HTTP/1\.1, not HTTP/2 without TLS, as its Port"):
        flyte.with_servecontext(activate_timeout=10).serve(mistaken)


def test_an_app_is_called_in_local_mode_as_well() -> None:
    served = flyte.with_servecontext(mode="local", health_check_timeout=10).serve(local)
    try:
        with calling(local) as client:
            assert client.name(b"", timeout=60) == b"local"
            assert list(client.chat(iter([b"a", b"b"]), timeout=60)) == [b"locala", b"localb"]
    finally:
        served.deactivate(wait=True)
