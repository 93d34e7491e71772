"""Find a run again by its name: from another process, after a restart, tomorrow.

    python examples/named_run.py
    flyteray run examples/named_run.py best --candidates '[1, 15]'
    flyteray run --no-wait --name nightly examples/named_run.py best --candidates '[5]'
    flyteray get run nightly
    flyteray get run -o json

`flyteray.run` returns at once, and the run goes on when the script has ended. On the command line the task's inputs are
options, each written as its annotation says: here a list, as JSON.
"""

from __future__ import annotations

import asyncio

from sklearn.datasets import load_wine
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import flyteray as flyte
from flyteray.remote import Run

wine = flyte.TaskEnvironment(name="wine", resources=flyte.Resources(cpu=1, memory="250Mi"))


@wine.task(retries=2)
def score(neighbors: int) -> float:
    """How well the kinds of 178 wines are told by the most similar ones."""
    rows, kinds = load_wine(return_X_y=True)
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(neighbors))
    return float(cross_val_score(model, rows, kinds, cv=5).mean())


@wine.task
async def best(candidates: list[int]) -> int:
    """The best number of neighbors. While it waits for its child tasks, they may use its CPU."""
    scores = await asyncio.gather(*(score.aio(number) for number in candidates))
    return max(zip(scores, candidates, strict=True))[1]


def main() -> None:
    name = flyte.run(best, candidates=[1, 5, 15]).name
    print(f"Started: {name}")
    run = Run.get(name)  # any process of yours can do that, today or tomorrow
    print(f"Best:    {run.outputs()[0]} neighbors")  # waits; raises what the task raised


if __name__ == "__main__":
    main()
