"""Have a task run with each new model: its file is an artifact, and a trigger waits for that.

    python examples/score_new_models.py
    flyteray get trigger digits.score

Who trains knows nothing of who scores. A version of an artifact has a name, is never another one, and may be a part of
all that has the name: here the trigger waits for the models of Europe alone. A version is an input by its handle, too.
"""

from __future__ import annotations

import time

import flyteray as flyte
from flyteray.artifacts import Metadata, new
from flyteray.io import File
from flyteray.remote import Artifact, Run, Task, Trigger

env = flyte.TaskEnvironment(name="digits")
NEW_MODEL = flyte.Trigger(
    "new model",
    flyte.OnArtifact("digits-model", region="eu"),
    inputs={"model": flyte.TriggeredArtifact, "region": flyte.TriggeredPartition("region")},
)


@env.task(produces_artifacts=True)
def train(region: str) -> File[bytes]:
    model = File[bytes].new_remote("model.txt")
    with model.open_sync("wb") as file:
        file.write(f"weights for {region}".encode())
    return new(model, Metadata(name="digits-model", kind="model", partitions={"region": region}))


@env.task(triggers=NEW_MODEL)
def score(model: File[bytes], region: str) -> str:
    with model.open_sync("rb") as file:
        return f"{file.read().decode()}: good enough for {region}"


def main() -> None:
    flyte.deploy(env)
    for region in ("us", "eu"):
        flyte.run(train, region).wait(quiet=True)
    trigger = Trigger.get(name="new model", task_name="digits.score")
    while (name := trigger.sync().info.last_run) is None:
        time.sleep(0.2)
    print(f"Scored: {Run.get(name).outputs()[0]}")
    newest = Artifact.get("digits-model", region="eu")
    print(f"Newest: {newest.partitions}")
    by_hand = flyte.run(Task.get("digits.score", auto_version="latest"), model=newest, region="a friend")
    print(f"Again: {by_hand.outputs()[0]}")
    trigger.deactivate()


if __name__ == "__main__":
    main()
