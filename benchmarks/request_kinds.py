"""How do streams, large bodies and WebSockets get through the ingress, beside a HAProxy that was configured by hand?

    python -m benchmarks.request_kinds [--repeat 3]

One replica answers by two ways: through flyteray's ingress, and through another HAProxy of the same program whose
configuration is the shortest that leads there. Both are asked in turn: many small requests, 64 event streams of 1,000
events, 10 MiB up and down, WebSockets that are echoed, calls of gRPC, and the small requests once more with keys,
limits and the access log on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import aiohttp
import grpc
import httpx
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import Response, StreamingResponse

import flyteray as flyte
from benchmarks import harness
from flyteray._ingress.haproxy.process import find_binary
from flyteray.app import AppEnvironment, Limits, Port, Scaling, grpc_address
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import Key

STREAMS, EVENTS = 64, 1000
TALKERS, WORDS = 32, 1000
TRANSFERS = 20
CALLERS, CALLS = 32, 100
LARGE = b"x" * (10 << 20)
TARGET = 0.95
WAYS = ("flyteray", "by hand")
BY_HAND = """
global
    nbthread 2
    maxconn 4096
defaults
    mode http
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
    option http-no-delay
    http-reuse always
frontend f
    bind 127.0.0.1:{port}
    http-request replace-path /[^/]*(/.*) \\1
    default_backend b
backend b
    server s 127.0.0.1:{replica}
"""
RPC_BY_HAND = """
frontend g
    bind 127.0.0.1:{port} proto h2
    default_backend h
backend h
    server s 127.0.0.1:{replica} proto h2
"""

api = FastAPI()
env = FastAPIAppEnvironment(
    name="kinds", app=api, scaling=Scaling(replicas=1), resources=flyte.Resources(cpu=0.5)
)
guarded = FastAPIAppEnvironment(
    name="guarded",
    app=api,
    scaling=Scaling(replicas=1),
    resources=flyte.Resources(cpu=0.5),
    limits=Limits(concurrency=100, queue=100, requests_per_second=1_000_000, body=1 << 30, headers=64_000),
)

callable_by_rpc = AppEnvironment(
    name="rpc", port=Port(50051, "h2c"), scaling=Scaling(replicas=1), resources=flyte.Resources(cpu=0.5)
)

Kind = Callable[[aiohttp.ClientSession, str], Awaitable[None]]


@api.get("/")
async def root() -> dict[str, str]:
    return {"hello": "world"}


@api.get("/port")
async def port() -> str:
    return os.environ["FLYTERAY_REPLICA_PORT"]


@api.get("/events")
async def events() -> StreamingResponse:
    async def ticks() -> AsyncIterator[str]:
        for number in range(EVENTS):
            yield f"data: {number}\n\n"

    return StreamingResponse(ticks(), media_type="text/event-stream")


@api.get("/large")
async def large() -> Response:
    return Response(LARGE, media_type="application/octet-stream")


@api.post("/large")
async def take(request: Request) -> int:
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return size


@api.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


class Echo(grpc.GenericRpcHandler):
    """Answers what it is asked, and nothing with the port of the replica."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != "/kinds/Echo":  # the question of its health is answered so as well
            return None

        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            return request or os.environ["FLYTERAY_REPLICA_PORT"].encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@callable_by_rpc.server
async def answer_calls() -> None:
    server = grpc.aio.server(handlers=(Echo(),))
    server.add_insecure_port("[::]:50051")
    await server.start()
    await server.wait_for_termination()


async def listen(session: aiohttp.ClientSession, url: str) -> None:
    """All event streams at one time."""

    async def one() -> None:
        async with session.get(f"{url}/events") as response:
            count = (await response.read()).count(b"data:")
        if count != EVENTS:
            raise RuntimeError(f"{count} events of {EVENTS}")

    await asyncio.gather(*(one() for _ in range(STREAMS)))


async def download(session: aiohttp.ClientSession, url: str) -> None:
    """One large answer after the other."""
    for _ in range(TRANSFERS):
        async with session.get(f"{url}/large") as response:
            if len(await response.read()) != len(LARGE):
                raise RuntimeError("the answer is not whole")


async def upload(session: aiohttp.ClientSession, url: str) -> None:
    """One large body after the other."""
    for _ in range(TRANSFERS):
        async with session.post(f"{url}/large", data=LARGE) as response:
            if await response.json() != len(LARGE):
                raise RuntimeError("the body was not whole")


async def talk(session: aiohttp.ClientSession, url: str) -> None:
    """All WebSockets at one time, each a word after the other."""

    async def one() -> None:
        async with session.ws_connect(f"{url}/echo") as socket:
            for _ in range(WORDS):
                await socket.send_str("there?")
                await socket.receive_str()

    await asyncio.gather(*(one() for _ in range(TALKERS)))


KINDS: dict[str, Kind] = {
    f"{STREAMS} event streams of {EVENTS:,} events": listen,
    f"{TRANSFERS} times 10 MiB down": download,
    f"{TRANSFERS} times 10 MiB up": upload,
    f"{TALKERS} WebSockets, {WORDS} words each": talk,
}


async def timed(kind: Kind, url: str) -> float:
    """Seconds that a kind takes."""
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        began = time.perf_counter()
        await kind(session, url)
        return time.perf_counter() - began


async def called(target: str, options: Sequence[tuple[str, str]] = ()) -> float:
    """Seconds that calls of gRPC take, each caller's one after the other."""
    async with grpc.aio.insecure_channel(target, options) as channel:
        call = channel.unary_unary("/kinds/Echo")

        async def one() -> None:
            for _ in range(CALLS):
                if await call(b"there?") != b"there?":
                    raise RuntimeError("the answer is another one")

        await call(b"there?")
        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(CALLERS)))
        return time.perf_counter() - began


@contextlib.contextmanager
def by_hand(replica: int, rpc: int | None = None) -> Iterator[tuple[str, str]]:
    """The other HAProxy, in front of the replica on this port, and of that for gRPC: a URL, and a target."""
    port, rpc_port = harness.free_port(), harness.free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "haproxy.cfg")
        also = RPC_BY_HAND.format(port=rpc_port, replica=rpc) if rpc else ""
        config.write_text(BY_HAND.format(port=port, replica=replica) + also)
        child = subprocess.Popen([find_binary(), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
        try:
            yield f"http://127.0.0.1:{port}/app", f"127.0.0.1:{rpc_port}"
        finally:
            child.terminate()
            child.wait(10)


def guarded_rates(repeat: int, seconds: float) -> dict[str, list[float]]:
    """Small requests a second with keys, limits and the access log, by both ways; one has none of them."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    with harness.local_cluster(num_cpus=2, auth=True, access_log=True):
        ours = flyte.serve(guarded).endpoint
        key = Key.create("load").value
        replica = int(httpx.get(f"{ours}/port", headers={"Authorization": f"Bearer {key}"}).json())
        with by_hand(replica) as (theirs, _):
            for _ in range(repeat):
                for way, url in zip(WAYS, (ours, theirs), strict=True):
                    rates[way].append(harness.wrk(f"{url}/", 32, seconds, key=key).requests_per_s)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds (default: 3)")
    parser.add_argument("--seconds", type=float, default=4, help="of small requests a sample (default: 4)")
    parser.add_argument("--guarded", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    harness.require_wrk()
    if given.guarded:  # a process of its own, as a process has one cluster
        print(json.dumps(guarded_rates(given.repeat, given.seconds)))
        return

    plain, calls = "small requests, 32 connections", f"{CALLERS} callers of gRPC, {CALLS} calls each"
    samples: dict[str, dict[str, list[float]]] = {
        name: {way: [] for way in WAYS} for name in (plain, *KINDS, calls)
    }
    with harness.local_cluster(num_cpus=2):
        ours = flyte.serve(env).endpoint
        replica = int(httpx.get(f"{ours}/port").json())
        flyte.serve(callable_by_rpc)
        address = grpc_address(callable_by_rpc)
        with grpc.insecure_channel(*address) as channel:
            rpc = int(channel.unary_unary("/kinds/Echo")(b""))
        with by_hand(replica, rpc) as (theirs, their_target):
            targets = dict(zip(WAYS, (address, (their_target,)), strict=True))
            with httpx.Client() as client:
                harness.until(lambda: harness.answers(client, f"{theirs}/"), timeout_s=20)
            for number in range(given.repeat):
                for way, url in zip(WAYS, (ours, theirs), strict=True):
                    samples[plain][way].append(harness.wrk(f"{url}/", 32, given.seconds).requests_per_s)
                    for name, kind in KINDS.items():
                        samples[name][way].append(1 / asyncio.run(timed(kind, url)))
                    samples[calls][way].append(1 / asyncio.run(called(*targets[way])))
                harness.progress(f"round {number + 1} of {given.repeat}")
    child = [sys.executable, "-m", "benchmarks.request_kinds", "--guarded"]
    child += [f"--repeat={given.repeat}", f"--seconds={given.seconds}"]
    said = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
    samples["the same with a key, limits, access log"] = json.loads(said.splitlines()[-1])

    rows = [
        [name, *(median(each[way]) for way in WAYS), f"{median(each[WAYS[0]]) / median(each[WAYS[1]]):.2f}x"]
        for name, each in samples.items()
    ]
    harness.report(
        "request_kinds",
        f"One replica behind flyteray's ingress and behind a HAProxy configured by hand, {given.repeat} rounds",
        ["times a second", *WAYS, f"flyteray is (target {TARGET}x)"],
        rows,
        {"samples": samples},
    )


if __name__ == "__main__":
    main()
