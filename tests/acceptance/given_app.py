"""An app whose model tests replace."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from flyteray.app import Parameter, RunOutput, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
app = FastAPIAppEnvironment(
    name="given-app",
    app=api,
    port=0,
    parameters=[
        Parameter("model", RunOutput(type="object", task_name="train.fit")),
        Parameter("table", type="object", env_var="TABLE"),
    ],
)


class Model:
    """What the task would return."""

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def predict(self, x: int) -> int:
        return self.factor * x


@api.get("/")
def predict() -> dict[str, Any]:
    model = get_parameter("model")
    return {"y": model.predict(2), "is_ours": isinstance(model, Model), "table": get_parameter("table")}
