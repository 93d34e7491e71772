"""Applications of Ray Serve's for the tests of serving them as apps."""

# Serve's classes of FastAPI need annotations that are no texts.

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, StreamingResponse
from ray import serve
from starlette.requests import Request as PlainRequest

import flyteray as flyte
from flyteray.app import Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import ServeAppEnvironment

api = FastAPI()


@serve.deployment(
    num_replicas=2, ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OWN": "own"}}}
)
class Twice:
    """A part with two replicas, a variable of its own and a value of the app's parameter."""

    def __init__(self, by: int) -> None:
        self.by = by

    def reconfigure(self, told: dict[str, int]) -> None:
        self.by += told["more"]

    async def __call__(self, number: int) -> int:
        print(f"{number} is asked for", flush=True)
        return number * self.by

    def tell(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "own": os.environ.get("OWN"),
            "shared": os.environ.get("SHARED"),
            "greeting": get_parameter("greeting"),
            "app": serve.get_replica_context().app_name,
        }

    async def count(self, to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number * self.by


@serve.deployment
class Models:
    """A part that loads models by their ids."""

    @serve.multiplexed(max_num_models_per_replica=2)
    async def load(self, model: str) -> str:
        return model.upper()

    async def __call__(self) -> str:
        return str(await self.load(serve.get_multiplexed_model_id()))

    async def work(self) -> None:
        self.begun, self.cancelled = True, False
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    def state(self) -> list[bool]:
        return [getattr(self, "begun", False), getattr(self, "cancelled", False)]


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(api)
class Front:
    def __init__(self, twice: Any, models: Any = None) -> None:
        self.twice = twice
        self.models = models

    @api.get("/twice/{number}")
    async def double(self, number: int) -> int:
        return int(await self.twice.remote(number))

    @api.get("/tell")
    async def tell(self, request: Request) -> dict[str, Any]:
        here = {"pid": os.getpid(), "root": request.scope["root_path"], "greeting": get_parameter("greeting")}
        return {"part": await self.twice.tell.remote(), "here": here}

    @api.get("/stream")
    async def stream(self) -> StreamingResponse:
        numbers = self.twice.options(stream=True).count.remote(3)
        return StreamingResponse(f"{number}\n" async for number in numbers)

    @api.get("/model")
    async def model(self) -> str:
        model = serve.get_multiplexed_model_id()
        return f"{model} {await self.models.options(multiplexed_model_id=model).remote()}"

    @api.websocket("/ws")
    async def talk(self, socket: WebSocket) -> None:
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(str(await self.twice.remote(int(text))))

    @api.get("/work")
    async def work(self) -> None:
        await self.models.work.remote()

    @api.get("/state")
    async def state(self) -> list[bool]:
        return list(await self.models.state.remote())

    @api.get("/slow")
    async def slow(self) -> int:
        await asyncio.sleep(3)
        return int(await self.twice.remote(1))


def composition(by: int, name: str = "composition", **options: Any) -> ServeAppEnvironment:
    twice = Twice.options(user_config={"more": 0}).bind(by)
    return ServeAppEnvironment(
        name=name,
        app=Front.bind(twice, models=Models.bind()),
        env_vars={"SHARED": "shared"},
        parameters=[Parameter("greeting", value="hi")],
        **options,
    )


def small(by: int, name: str) -> ServeAppEnvironment:
    """As few processes as a composition can have."""
    return ServeAppEnvironment(
        name=name,
        app=Front.bind(Twice.options(num_replicas=1, user_config={"more": 0}).bind(by)),
        parameters=[Parameter("greeting", value="hi")],
    )


first = composition(2)
second = composition(3)
shared_one, shared_two = small(2, "shared-serve"), small(3, "shared-serve")
leaving = small(5, "leaving")
local = composition(2, "local-composition")


@serve.deployment(max_ongoing_requests=8, max_queued_requests=1)
class Plain:
    """An ingress deployment without FastAPI, which answers in batches and can be told that it is ill."""

    def __init__(self) -> None:
        self.ill = False
        self.told: Any = None

    def reconfigure(self, told: Any) -> None:
        self.told = told

    def check_health(self) -> None:
        if self.ill:
            raise RuntimeError("I feel ill.")

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=5)
    async def together(self, words: list[str]) -> list[list[str]]:
        return [sorted(words)] * len(words)

    async def __call__(self, request: PlainRequest) -> Any:
        match request.url.path.rpartition("/")[2]:
            case "batch":
                return await self.together(request.query_params["word"])
            case "told":
                return {"told": self.told, "method": request.method, "body": (await request.body()).decode()}
            case "ill":
                self.ill = True
                return os.getpid()
            case "pid":
                return os.getpid()
            case "slow":
                await asyncio.sleep(float(request.query_params["s"]))
                return "slow"
            case "teapot":
                return JSONResponse({}, status_code=418)
        raise ValueError("no such path")


plain = ServeAppEnvironment(
    name="plain-serve",
    app=Plain.options(user_config={"level": 3}, health_check_period_s=0.2).bind(),
)


@serve.deployment
async def hello(request: PlainRequest) -> str:
    return f"hello {request.query_params.get('name', '')}"


function = ServeAppEnvironment(
    name="serve-function", app=hello.bind(), scaling=Scaling(replicas=(0, 2), scaledown_after=3)
)


@serve.deployment
class Broken:
    def __init__(self) -> None:
        raise RuntimeError("This part is broken.")

    def __call__(self) -> None: ...


broken_part = ServeAppEnvironment(name="composition", app=Front.bind(Broken.bind()))
broken_ingress = ServeAppEnvironment(name="broken-ingress", app=Broken.bind())


@serve.deployment(ray_actor_options={"num_gpus": 64})
class Impossible:
    def __call__(self) -> None: ...


too_large = ServeAppEnvironment(name="too-large-part", app=Front.bind(Impossible.bind()))


@serve.deployment
class Fragile:
    """A part that can't be made while there is a file."""

    def __init__(self) -> None:
        if os.path.exists(get_parameter("gate")):
            raise RuntimeError("The gate is shut.")

    def __call__(self, number: int) -> int:
        return os.getpid()


fragile = ServeAppEnvironment(
    name="fragile-part",
    app=Front.bind(Fragile.bind()),
    parameters=[Parameter("gate", value="")],
)


@serve.deployment(
    autoscaling_config={
        "min_replicas": 1,
        "max_replicas": 2,
        "target_ongoing_requests": 1,
        "upscale_delay_s": 0,
        "metrics_interval_s": 0.5,
        "look_back_period_s": 2,
    }
)
class Busy:
    """A part whose replicas follow its requests."""

    async def __call__(self, number: int) -> int:
        await asyncio.sleep(0.5)
        return os.getpid()


busy = ServeAppEnvironment(name="busy-part", app=Front.bind(Busy.bind()))


training = flyte.TaskEnvironment(name="serve-training")


@training.task
def weights(value: float) -> np.ndarray:
    return np.full(1_000_000, value)


@serve.deployment(num_replicas=2)
class Weights:
    """A part with a large value that a task has made, and newer ones that follow."""

    def tell(self) -> dict[str, Any]:
        values = get_parameter("weights")
        return {"pid": os.getpid(), "value": float(values[0]), "place": place(values)}


@serve.deployment
class Relay:
    def __init__(self, weights: Any) -> None:
        self.weights = weights

    async def __call__(self, request: PlainRequest) -> dict[str, Any]:
        return dict(await self.weights.tell.remote())


def place(array: np.ndarray) -> str:
    """The file that an array's memory is of, and where in it."""
    address = array.ctypes.data
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, _, _, *file = line.split(maxsplit=5)
        begin, end = (int(each, 16) for each in span.split("-"))
        if begin <= address < end:
            return f"{''.join(file)} {address - begin + int(offset, 16)}"
    return ""


weighing = ServeAppEnvironment(
    name="serve-weighing",
    app=Relay.bind(Weights.bind()),
    parameters=[
        Parameter("weights", value=RunOutput(type="object", task_name="serve-training.weights", follow=True))
    ],
)


@serve.deployment
class Slow:
    def __init__(self) -> None:
        time.sleep(15)

    def __call__(self) -> None: ...


too_slow = ServeAppEnvironment(name="too-slow-part", app=Front.bind(Slow.bind()))
