"""The values that tasks and apps are described by, under the names that Flyte has for them."""

from __future__ import annotations

import uuid

from flyteray import _public
from flyteray._declare.context import TaskContext
from flyteray._declare.facts import (
    ActionID,
    CheckpointPaths,
    CodeBundle,
    GroupData,
    RawDataPath,
    SerializationContext,
)
from flyteray._declare.options.task import MAX_INLINE_IO_BYTES
from flyteray._declare.tasks.interface import Interface as NativeInterface
from flyteray._plan.info import ActionPhase

__all__ = [
    "MAX_INLINE_IO_BYTES",
    "ActionID",
    "ActionPhase",
    "CheckpointPaths",
    "CodeBundle",
    "GroupData",
    "NativeInterface",
    "RawDataPath",
    "SerializationContext",
    "TaskContext",
    "generate_random_name",
]


def generate_random_name() -> str:
    """A name that nothing has yet."""
    return str(uuid.uuid4())


_public.adopt(__name__, globals())
