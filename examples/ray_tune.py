"""Search for good settings with Ray Tune in a task: each trial has a CPU, the task that waits for them has none.

python examples/ray_tune.py
"""

from __future__ import annotations

from typing import Any

from ray import tune
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import flyteray as flyte

env = flyte.TaskEnvironment(name="forests", resources=flyte.Resources(cpu=0))


def trial(settings: dict[str, Any]) -> dict[str, float]:
    features, labels = load_wine(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=20, random_state=0, **settings)
    return {"accuracy": float(cross_val_score(forest, features, labels, cv=3).mean())}


@env.task
def search(depths: list[int]) -> dict[str, Any]:
    tuner = tune.Tuner(
        trial,
        param_space={"max_depth": tune.grid_search(depths)},
        tune_config=tune.TuneConfig(metric="accuracy", mode="max"),
        run_config=tune.RunConfig(storage_path=flyte.ctx().raw_data_path.path, verbose=0),
    )
    best = tuner.fit().get_best_result()
    return {"settings": best.config, "accuracy": (best.metrics or {})["accuracy"]}


def main() -> None:
    found = flyte.run(search, depths=[1, 4]).outputs()[0]
    print(f"Best: {found['settings']} is right in {found['accuracy']:.0%} of cases")


if __name__ == "__main__":
    main()
