"""The inputs of an action are recorded: small ones with what happens to it, larger ones in storage, huge ones not.

So is its task, once for all of its actions of a run.
"""

from __future__ import annotations

from flyteray._plan.values.pickling import Payload

INLINE = 4096  # bytes that travel with an event and are kept in the registry
LARGEST = 16 << 20  # bytes that are worth a file for each action


def inline(inputs: Payload) -> bytes | None:
    """Inputs as they are kept in the registry; None where they are too large for that."""
    return inputs.header if not inputs.buffers and len(inputs.header) <= INLINE else None


def in_storage(inputs: Payload) -> bool:
    """Whether the inputs of an action are kept in storage: they are too large to travel, and not huge."""
    return inline(inputs) is None and inputs.nbytes <= LARGEST


def input_key(run: str, action: str) -> str:
    """Where in storage the inputs of an action are that are kept there."""
    return f"runs/{run}/{action}/inputs"


def task_key(run: str, task: str) -> str:
    """Where in storage the spec is of a task whose actions a run has."""
    return f"runs/{run}/tasks/{task}"
