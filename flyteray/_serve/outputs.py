"""Outputs of tasks as replicas read them."""

from __future__ import annotations

from typing import Any

from flyteray._cluster import actors
from flyteray._plan.spec import OutputRef
from flyteray._tasks import outputs


def read_output(ref: OutputRef) -> Any:
    """The output that a parameter refers to, from the object store or storage."""
    run = ref.run_name or actors.call(actors.CONTROLLER, "locate_output", ref)
    return outputs.load(run, ref.getter)
