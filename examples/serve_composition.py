"""Serve a composition of Ray Serve's: deployments that call one another, each with replicas of its own.

    python examples/serve_composition.py
    flyteray get app jury

A task trains three models that read handwritten digits. Each is a deployment of Ray Serve's; a fourth asks them all at
one time, and the majority decides. `ServeAppEnvironment` serves them as one app: it has one URL, versions, keys and
limits, and the models come to all of its deployments as parameters do.
"""

# No `from __future__ import annotations`: Serve's classes of FastAPI need annotations that are no texts.

import asyncio
from collections import Counter
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve.handle import DeploymentHandle
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier

import flyteray as flyte
from flyteray.app import Parameter, RunOutput, get_parameter
from flyteray.app.extras import ServeAppEnvironment

training = flyte.TaskEnvironment(name="jurors")
api = FastAPI(title="Which digit is it?")


def images() -> list[Any]:
    """Rows of 64 pixels and their labels: for training, and held out."""
    data = load_digits()
    split: list[Any] = train_test_split(data.data / 16, data.target, test_size=0.25, random_state=7)
    return split


@training.task
def train() -> dict[str, Any]:
    rows, _, labels, _ = images()
    models = {
        "bayes": GaussianNB(),
        "line": LogisticRegression(max_iter=500),
        "near": KNeighborsClassifier(3),
    }
    return {name: model.fit(rows, labels) for name, model in models.items()}


@serve.deployment
class Juror:
    """One model."""

    def __init__(self, name: str) -> None:
        self.model = get_parameter("models")[name]

    def __call__(self, pixels: list[float]) -> int:
        return int(self.model.predict([pixels])[0])


class Image(BaseModel):
    pixels: list[float]


@serve.deployment(max_ongoing_requests=100)
@serve.ingress(api)
class Jury:
    """Asks all of them."""

    def __init__(self, jurors: dict[str, DeploymentHandle]) -> None:
        self.jurors = jurors

    @api.post("/digit")
    async def digit(self, image: Image) -> dict[str, Any]:
        said = await asyncio.gather(*(juror.remote(image.pixels) for juror in self.jurors.values()))
        votes = dict(zip(self.jurors, said, strict=True))
        return {"digit": Counter(said).most_common(1)[0][0], "votes": votes}


jury = ServeAppEnvironment(
    name="jury",
    app=Jury.bind(
        {
            "bayes": Juror.options(name="Bayes").bind("bayes"),
            "line": Juror.options(name="Line").bind("line"),
            "near": Juror.options(name="Near", num_replicas=2).bind("near"),  # it takes the most time
        }
    ),
    parameters=[Parameter("models", value=RunOutput(type="object", task_name="jurors.train"))],
)


def main() -> None:
    flyte.run(train).wait()
    app = flyte.serve(jury)
    _, rows, _, labels = images()
    with httpx.Client(base_url=app.endpoint, timeout=60) as client:
        answers = [client.post("/digit", json={"pixels": row.tolist()}).json() for row in rows[:100]]
    for name in ("bayes", "line", "near"):
        right = sum(
            answer["votes"][name] == label for answer, label in zip(answers, labels[:100], strict=True)
        )
        print(f"{name:5} is right in {right}% of cases")
    right = sum(answer["digit"] == label for answer, label in zip(answers, labels[:100], strict=True))
    print(f"The jury is right in {right}% of cases")


if __name__ == "__main__":
    main()
