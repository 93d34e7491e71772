"""Serve the newest model without a restart: follow a task.

    python examples/live_model.py
    flyteray run examples/live_model.py train --rows 1500
    flyteray get app live-digits

With `follow=True` the replicas take the output of every run of the task that succeeds. `@app.on_update` sees a new
value first and may refuse it by raising: then the old one stays in service. No request fails, none sees half a model.
`flyteray get app` tells which run each replica serves.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
from fastapi import FastAPI
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import flyteray as flyte
from flyteray.app import Parameter, RunOutput, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment

HELD_OUT = slice(1500, None)  # of 1,797 handwritten digits
training = flyte.TaskEnvironment(name="live")
api = FastAPI()
app = FastAPIAppEnvironment(
    name="live-digits",
    app=api,
    parameters=[Parameter("model", value=RunOutput(type="object", task_name="live.train", follow=True))],
)


@training.task
def train(rows: int) -> dict[str, Any]:
    digits = load_digits()
    model = LogisticRegression(max_iter=1000).fit(digits.data[:rows], digits.target[:rows])
    return {
        "rows": rows,
        "accuracy": model.score(digits.data[HELD_OUT], digits.target[HELD_OUT]),
        "model": model,
    }


@app.on_update
def take(model: dict[str, Any]) -> None:
    if model["accuracy"] < 0.5:
        raise ValueError(f"A model that is right in {model['accuracy']:.0%} of cases helps nobody.")


@api.get("/model")
def about() -> dict[str, Any]:
    model = get_parameter("model")
    return {"rows": model["rows"], "accuracy": round(model["accuracy"], 3)}


@api.post("/read")
def read(pixels: list[float]) -> int:
    return int(get_parameter("model")["model"].predict([pixels])[0])


def main() -> None:
    flyte.run(train, rows=100).wait()
    served = flyte.serve(app)
    print(f"Served:  {httpx.get(f'{served.endpoint}/model').json()}")
    started = time.monotonic()
    flyte.run(train, rows=1000).wait()
    trained = time.monotonic()
    while (model := httpx.get(f"{served.endpoint}/model").json())["rows"] != 1000:
        time.sleep(0.05)
    print(
        f"Newer:   {model}, trained in {trained - started:.1f} s, served {time.monotonic() - trained:.1f} s later"
    )
    flyte.run(train, rows=3).wait()
    while not (refused := served.sync().info.replica_list[0].refused):
        time.sleep(0.05)
    print(f"Refused: {refused['model']}")
    print(f"Still:   {httpx.get(f'{served.endpoint}/model').json()}")


if __name__ == "__main__":
    main()
