"""Let programs that have no Python start your tasks: a webhook.

    python examples/webhook_starts_task.py

The task is deployed, so that it has a name; the webhook is ready-made and may run this task only. It asks its callers
for credentials and passes them on to the apps it calls; who may reach it at all is for you to decide.
"""

from __future__ import annotations

import time

import httpx
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

import flyteray as flyte
from flyteray.app.extras import FlyteWebhookAppEnvironment

training = flyte.TaskEnvironment(name="diabetes")
webhook = FlyteWebhookAppEnvironment(
    name="start-training",
    endpoint_groups=["core", "task", "run"],
    task_allowlist=["diabetes.score"],
)


@training.task
def score(alpha: float, folds: int = 5) -> float:
    """How well a ridge regression tells the course of 442 patients' diabetes."""
    rows, progression = load_diabetes(return_X_y=True)
    return float(cross_val_score(Ridge(alpha=alpha), rows, progression, cv=folds).mean())


def main() -> None:
    flyte.deploy(training)
    served = flyte.serve(webhook)
    with httpx.Client(
        base_url=served.endpoint, headers={"authorization": "Bearer anything"}, timeout=60
    ) as client:
        run = client.post("/run-task/development/demo/diabetes.score", json={"alpha": 0.1}).json()
        print(f"Started: {run['name']}")
        while not client.get(f"/run/{run['name']}").json()["done"]:
            time.sleep(0.2)
        outputs = client.get(f"/run/{run['name']}/io").json()["outputs"]
        print(f"Score:   {outputs['o0']:.3f}")
    print("Start one yourself:")
    print(
        f"curl -s {served.endpoint}/run-task/development/demo/diabetes.score -H 'authorization: Bearer me' "
        "-H 'content-type: application/json' -d '{\"alpha\": 0.5}'"
    )


if __name__ == "__main__":
    main()
