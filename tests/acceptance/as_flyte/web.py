"""An app that runs a task, and a task that calls the app."""

import json
import urllib.request

import flyte
from fastapi import FastAPI
from flyte.app.extras import FastAPIAppEnvironment

tasks = flyte.TaskEnvironment("as_flyte_web_tasks", resources=flyte.Resources(cpu=0.5))
api = FastAPI()
web = FastAPIAppEnvironment(
    name="as-flyte-web", app=api, requires_auth=False, scaling=flyte.app.Scaling(replicas=1)
)


@tasks.task
async def double(x: int) -> int:
    return 2 * x


@tasks.task
def through_the_app(x: int) -> int:
    with urllib.request.urlopen(f"{web.endpoint}/double?x={x}") as answer:
        return json.load(answer)["doubled"]


@api.get("/double")
async def doubled(x: int) -> dict[str, int | str]:
    from flyte.app import ctx

    return {"doubled": await double(x), "mode": ctx().mode}
