"""Clusters of training processes are absent; Ray Train starts such processes from a task."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_TRAIN = (
    "start the processes from a task: ray.train.torch.TorchTrainer and ray.train.v2.jax.JaxTrainer take a "
    "ScalingConfig(num_workers=...), see examples/ray_train.py."
)

_INSTEAD = {
    **dict.fromkeys(
        (
            "ClusterFailurePolicy",
            "ClusteredTaskEnvironment",
            "ClusteredTaskTemplate",
            "JaxRun",
            "Runtime",
            "TorchRun",
            "jax_initialize",
        ),
        _TRAIN,
    ),
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
