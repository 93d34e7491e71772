"""Helpers beside tasks: batches of what many ask for. What else Flyte has here is absent, and says what to use."""

from __future__ import annotations

import typing

from flyteray import _public
from flyteray.extras.batcher import BatchStats, CostEstimator, DynamicBatcher
from flyteray.extras.tokens import Prompt, TokenBatcher, TokenEstimator

__all__ = [
    "BatchStats",
    "CostEstimator",
    "DynamicBatcher",
    "Prompt",
    "TokenBatcher",
    "TokenEstimator",
]

_public.adopt(__name__, globals())

_CONTAINER = (
    "Ray starts processes, not containers. Give the environment of a task the image "
    "(flyteray.Image.from_base(...)), and start the program in the task with subprocess.run(..., check=True)."
)
_SLEEP = "wait in a task, with asyncio.sleep or flyteray.durable.sleep."
_INSTEAD = {
    "ContainerTask": _CONTAINER,
    "Sleep": _SLEEP,
    "SleepTask": _SLEEP,
    "model_streamer": "give an app its model by flyteray.app.RunOutput, which maps it into memory.",
}


def __getattr__(name: str) -> typing.Any:
    return _public.absent(__name__, name, _INSTEAD)
