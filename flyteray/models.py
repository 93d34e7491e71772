"""The values that tasks and apps are described by, under the names that Flyte has for them."""

from __future__ import annotations

from flyteray import _public
from flyteray._declare.context import (
    ActionID,
    CodeBundle,
    GroupData,
    RawDataPath,
    SerializationContext,
    TaskContext,
)
from flyteray._declare.tasks.interface import Interface as NativeInterface
from flyteray._plan.info import ActionPhase

__all__ = [
    "ActionID",
    "ActionPhase",
    "CodeBundle",
    "GroupData",
    "NativeInterface",
    "RawDataPath",
    "SerializationContext",
    "TaskContext",
]

_public.adopt(__name__, globals())
