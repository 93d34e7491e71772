"""A script that serves apps on the nodes of a cluster and runs tasks on them, for the tests with several nodes."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path
from urllib.request import urlopen

from fastapi import FastAPI, Request, Response, WebSocket

import flyteray as flyte
from flyteray.app import Scaling
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import Dir, File
from flyteray.remote import ActionPhase, App, Run
from tests.console import answer
from tests.waiting import eventually_equal

api = FastAPI()
app = FastAPIAppEnvironment(
    name="hello", app=api, resources=flyte.Resources(cpu="0.1"), scaling=Scaling(replicas=(3, 3))
)
another = FastAPIAppEnvironment(
    name="another", app=api, resources=flyte.Resources(cpu="0.1"), scaling=Scaling(1)
)
tasks = flyte.TaskEnvironment(name="nodes", resources=flyte.Resources(cpu=1), depends_on=[app])


@api.api_route("/who", methods=["GET", "POST"])
def who(request: Request, response: Response) -> dict[str, object]:
    response.headers["x-node"] = socket.gethostname()
    return {"node": socket.gethostname(), "headers": dict(request.headers)}


@api.api_route("/slow", methods=["GET", "POST"])
async def slow(response: Response) -> None:
    response.headers["x-node"] = socket.gethostname()
    await asyncio.sleep(0.5)


@api.post("/length")
async def length(request: Request) -> int:
    return len(await request.body())


@api.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(socket.gethostname())
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@tasks.task
def call(number: int) -> tuple[str, str, int]:
    """Where this ran, the endpoint that it saw, and how many of its calls were answered."""
    time.sleep(0.3)  # so that the next one goes to another node
    answered = sum(urlopen(f"{app.endpoint}/who").status == 200 for _ in range(number))
    return socket.gethostname(), app.endpoint, answered


@tasks.task
async def call_from_everywhere(calls: int) -> list[tuple[str, str, int]]:
    return list(await asyncio.gather(*(call.aio(calls) for _ in range(6))))


@tasks.task
async def write() -> tuple[str, File[str], Dir[str]]:
    """A file and a folder, and the node that wrote them and this."""
    print("written on", socket.gethostname())
    await asyncio.sleep(0.3)
    made: File[str] = File.new_remote("note.txt")
    async with made.open("wb") as stream:
        await stream.write(socket.gethostname().encode())
    folder = Path("folder")
    folder.mkdir(exist_ok=True)
    (folder / "inside.txt").write_text(socket.gethostname())
    return socket.gethostname(), made, await Dir.from_local(str(folder))


@tasks.task
async def write_everywhere() -> list[tuple[str, File[str], Dir[str]]]:
    return list(await asyncio.gather(*(write.aio() for _ in range(6))))


JOURNAL = Path("/tmp/shared/journal")  # each node's own /tmp, with what they share in it


@tasks.task
def step(number: int) -> int:
    time.sleep(0.05)
    with JOURNAL.open("a") as journal:
        journal.write(f"{number}\n")
    return number


@tasks.task
async def go_on(steps: int) -> int:
    """The sum of what many children return, ten at a time."""
    done = 0
    for first in range(0, steps, 10):
        done += sum(await asyncio.gather(*(step.aio(number) for number in range(first, first + 10))))
    return done


def read(name: str) -> list[str]:
    """The nodes that wrote what is read here: outputs, files, folders and logs."""
    nodes = []
    run = Run.get(name)

    def told() -> list[list[str]]:
        return sorted(run.get_logs(action=each.action) for each in run.actions() if each.parent is not None)

    # What workers report of a run that has ended comes in batches.
    eventually_equal(told, sorted([f"written on {node}"] for node, _, _ in run.outputs()[0]))
    for node, file, folder in run.outputs()[0]:
        with file.open_sync("rb") as stream:
            assert stream.read() == node.encode()
        assert (Path(folder.download_sync()) / "inside.txt").read_text() == node
        nodes.append(node)
    return sorted(set(nodes))


def told(verb: str, *words: str) -> object:
    """What is answered to who asks this script, in its words or in a line."""
    match verb, words:
        case "serve", [name]:
            served = flyte.serve({"hello": app, "another": another}[name])
            return {"url": served.url, "endpoint": served.endpoint}
        case "run", [calls]:
            return flyte.run(call_from_everywhere, int(calls)).outputs()[0]
        case "until", [state]:  # a replica is known to be away; all are known to be back
            handle = App.get("hello")
            while any(each.unreached_by for each in handle.sync().info.replica_list) is not (state == "away"):
                time.sleep(0.2)
            return state
        case "replicas", []:
            return [replica.host for replica in App.get("hello").info.replica_list]
        case "write", []:
            run = flyte.run(write_everywhere)
            return run.name, sorted({node for node, _, _ in run.outputs()[0]})
        case "read", [run_name]:
            return read(run_name)
        case "go-on", []:
            run = flyte.run(go_on, 200)
            while not (JOURNAL.exists() and JOURNAL.read_text().count("\n") > 60):
                assert not run.done()
                time.sleep(0.02)
            return run.name
        case "end", [run_name]:
            run = Run.get(run_name)
            run.wait()
            deadline = time.monotonic() + 90
            while time.monotonic() < deadline:  # workers report in batches, and a parent what they could not
                phases = [action.phase for action in run.actions()]
                if phases == [ActionPhase.SUCCEEDED] * 201:
                    break
                time.sleep(0.2)
            succeeded = phases.count(ActionPhase.SUCCEEDED)
            return [run.outputs()[0], succeeded, len(phases), JOURNAL.read_text().split()]
        case "call", [number]:
            flyte.init()
            return [json.load(urlopen(f"{app.endpoint}/who"))["node"] for _ in range(int(number))]
        case _:
            raise ValueError(f"{verb} {words}?")


if __name__ == "__main__":
    answer(told)
