"""Compare two models in service: apps that call apps.

    python examples/ab_graph.py

A task trains each of two models, an app serves each, and a third app, the only one that users know, sends each user to
the same one of the two every time. `AppEndpoint` gives it their addresses and `depends_on` has them up before it.
"""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import flyteray as flyte
from flyteray.app import AppEndpoint, Parameter, RunOutput, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment

training = flyte.TaskEnvironment(name="ab")
MODELS = {"a": LogisticRegression, "b": KNeighborsClassifier}


def split() -> list[Any]:
    """569 tumours, 30 measurements each: are they benign? A quarter of them is held out."""
    rows, labels = load_breast_cancer(return_X_y=True)
    held_out: list[Any] = train_test_split(rows, labels, random_state=7)
    return held_out


@training.task
def train_a() -> Any:
    return fitted("a")


@training.task
def train_b() -> Any:
    return fitted("b")


def fitted(name: str) -> Any:
    rows, _, labels, _ = split()
    return make_pipeline(StandardScaler(), MODELS[name]()).fit(rows, labels)


class Tumour(BaseModel):
    measurements: list[float]


model_api = FastAPI()  # the same code for both; they differ in their parameter


@model_api.post("/")
def predict(tumour: Tumour) -> dict[str, Any]:
    benign = bool(get_parameter("model").predict([tumour.measurements])[0])
    return {"benign": benign, "model": get_parameter("name")}


def model_app(name: str) -> FastAPIAppEnvironment:
    output = RunOutput(type="object", task_name=f"ab.train_{name}")
    return FastAPIAppEnvironment(
        name=f"model-{name}",
        app=model_api,
        parameters=[Parameter("model", value=output), Parameter("name", value=name)],
    )


model_a, model_b = model_app("a"), model_app("b")
router_api = FastAPI()
router = FastAPIAppEnvironment(
    name="tumours",
    app=router_api,
    parameters=[Parameter(name, value=AppEndpoint(f"model-{name}")) for name in MODELS],
    depends_on=[model_a, model_b],
)


@router.on_startup
async def open_client() -> None:
    router_api.state.client = httpx.AsyncClient()


@router.on_shutdown
async def close_client() -> None:
    await router_api.state.client.aclose()


@router_api.post("/{user}")
async def route(user: str, request: Request) -> Response:
    """The bytes pass through as they are."""
    name = "ab"[hashlib.sha256(user.encode()).digest()[0] % 2]
    answer = await router_api.state.client.post(
        get_parameter(name), content=await request.body(), headers={"content-type": "application/json"}
    )
    return Response(answer.content, answer.status_code, media_type="application/json")


def main() -> None:
    for run in [flyte.run(train_a), flyte.run(train_b)]:
        run.wait()
    served = flyte.serve(router)
    _, rows, _, labels = split()
    right: dict[str, list[bool]] = {"a": [], "b": []}
    with httpx.Client(base_url=served.endpoint, timeout=60) as client:
        for number, (row, benign) in enumerate(zip(rows, labels, strict=True)):
            answer = client.post(f"/user-{number}", json={"measurements": row.tolist()}).json()
            right[answer["model"]].append(answer["benign"] == bool(benign))
    for name, answers in right.items():
        kind = MODELS[name].__name__
        print(f"Model {name}, {kind}: {sum(answers) / len(answers):.3f} right of {len(answers)} users")


if __name__ == "__main__":
    main()
