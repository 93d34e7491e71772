"""Tasks that triggers run; each writes down the times that it was given."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import flyteray as flyte
from flyteray.artifacts import Artifact, Metadata, new, produces
from flyteray.io import File

env = flyte.TaskEnvironment("triggered")
each_second = flyte.Trigger(
    "each second",
    flyte.Cron("* * * * * *"),
    inputs={"when": flyte.TriggerTime, "word": "tick"},
    custom_context={"who": "the clock"},
    auto_activate=False,
)


@env.task(triggers=each_second)
def notes(when: datetime, word: str, folder: str = "") -> str:
    name = f"{when:%Y%m%dT%H%M%S}-{word}"
    if folder:
        with (Path(folder) / name).open("a") as file:  # a second run of one tick makes it longer
            file.write(f"{flyte.ctx().action.run_name}\n")
    return f"{name} of {flyte.get_custom_context().get('who')}"


@env.task(triggers=flyte.Trigger("by hand", inputs={"x": 1}))
def add(x: int, y: int) -> int:
    return x + y


@env.task
def says(word: str) -> str:
    if not word:
        raise ValueError("no word")
    return word


@env.task(produces_artifacts=True)
def trains(folder: str, region: str) -> tuple[int, File[Any]]:
    model = Path(folder) / f"model-{region}"
    model.write_text(f"weights of {region}")
    return 1, new(File(path=str(model)), Metadata(name="model", partitions={"region": region}, kind="model"))


@env.task
def writes(folder: str) -> File[Any]:
    place = Path(folder) / "plain"
    place.write_text("plain")
    return File(path=str(place))


@env.task
async def names_what_others_write(folder: str) -> None:
    with produces(o0=Metadata(name="named", version="v1", description="by its caller")):
        await writes.override(produces_artifacts=True).aio(folder)
    await writes.override(produces_artifacts=True).aio(folder)


@env.task(
    triggers=flyte.Trigger(
        "on model",
        flyte.OnArtifact("model", region="eu"),
        inputs={"model": flyte.TriggeredArtifact, "region": flyte.TriggeredPartition("region"), "times": 2},
    )
)
def scores(model: File[Any], region: str, times: int) -> str:
    with model.open_sync("rt") as file:
        return f"{region}: {file.read() * times}"


@env.task(produces_artifacts=True)
def joins(model: File[Any], others: list[File[Any]]) -> File[Any]:
    texts = []
    for each in (model, *others):
        with each.open_sync("rt") as file:
            texts.append(file.read())
    joined = Path(model.path).parent / "joined"
    joined.write_text(" and ".join(texts))
    return new(File(path=str(joined)), Metadata(name="joined", partitions={"day": date(2026, 3, 1)}))


@env.task(
    triggers=flyte.Trigger(
        "on joined", flyte.OnArtifact("joined"), inputs={"day": flyte.TriggeredPartition("day")}
    )
)
def tells_day(day: datetime) -> str:
    return day.isoformat()


@env.task
async def joins_below() -> File[Any]:
    named: Any = await Artifact.get.aio("named")
    assert (await named.to_python(File)).path == (await named.to_python.aio()).path
    return await joins.aio(named, [named])
