"""Train a model with tasks, serve it with an app, let both call each other.

    python examples/train_and_serve.py

A task searches for the best hyper-parameters with child tasks and trains the best model; the model stays in Ray's
object store, two replicas of a FastAPI app take it from there, and a last task measures the accuracy through the app.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel, Field
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import flyteray as flyte
from flyteray.app import Parameter, RunOutput, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment

training = flyte.TaskEnvironment(name="training")
api = FastAPI(title="Which digit is it?")
digits = FastAPIAppEnvironment(
    name="digits",
    app=api,
    parameters=[Parameter("model", value=RunOutput(type="object", task_name="training.train"))],
    scaling=Scaling(replicas=2),
)


def images() -> list[Any]:
    """1,797 handwritten digits of 8 by 8 pixels, split into training and held-out rows."""
    data = load_digits()
    split: list[Any] = train_test_split(data.data, data.target, test_size=0.25, random_state=7)
    return split


def classifier(gamma: float, penalty: float) -> Pipeline:
    return make_pipeline(StandardScaler(), SVC(gamma=gamma, C=penalty))


@training.task
def cross_validate(gamma: float, penalty: float) -> float:
    rows, _, labels, _ = images()
    return float(cross_val_score(classifier(gamma, penalty), rows, labels, cv=3).mean())


@training.task
async def train() -> Pipeline:
    grid = [(gamma, penalty) for gamma in (0.003, 0.02) for penalty in (1.0, 10.0)]
    scores = await asyncio.gather(*(cross_validate.aio(gamma, penalty) for gamma, penalty in grid))
    for (gamma, penalty), score in zip(grid, scores, strict=True):
        print(f"gamma={gamma} penalty={penalty}: {score:.3f}")
    best = grid[scores.index(max(scores))]
    rows, _, labels, _ = images()
    return classifier(*best).fit(rows, labels)


class Image(BaseModel):
    pixels: list[float] = Field(min_length=64, max_length=64, description="8 by 8, row by row, from 0 to 16")


@api.post("/predict")
def predict(image: Image) -> dict[str, int]:
    return {"digit": int(get_parameter("model").predict([image.pixels])[0])}


@training.task
def count_digits(digit: int) -> int:
    """How many of the training rows show a digit."""
    return int((images()[2] == digit).sum())


@api.post("/count/{digit}")
async def count(digit: int) -> dict[str, int]:
    run = await flyte.run.aio(count_digits, digit=digit)
    return {"digit": digit, "seen": (await run.outputs.aio())[0]}


@training.task
def measure() -> float:
    """The accuracy on the held-out rows, asked of the app over HTTP."""
    _, rows, _, labels = images()
    with httpx.Client(base_url=digits.endpoint) as client:
        answers = [client.post("/predict", json={"pixels": row.tolist()}).json()["digit"] for row in rows]
    return sum(answer == label for answer, label in zip(answers, labels, strict=True)) / len(labels)


def main() -> None:
    trained = flyte.run(train)
    print(f"Training: run {trained.name} ...")
    trained.wait()
    print(f"Trained:  {trained.outputs()[0]['svc']}")
    app = flyte.serve(digits)
    print(f"Serving:  {app.url} ({app.info.ready_replicas} replicas)")
    print(f"Counting: {httpx.post(f'{app.endpoint}/count/7', timeout=60).json()} through the app, by a task")
    print(f"Accuracy: {flyte.run(measure).outputs()[0]:.3f} on held-out rows, measured through the app")
    image = json.dumps({"pixels": images()[1][0].tolist()})
    print("Try it; it stays up until `flyteray down`:")
    print(f"curl -s {app.endpoint}/predict -H 'content-type: application/json' -d '{image}'")


if __name__ == "__main__":
    main()
