"""The outputs of tasks that an app takes are found by its process in one of two ways: asked for, or planned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from flyteray._plan.spec import OutputRef


class Outputs(Protocol):
    """Finds and reads the outputs that parameters refer to."""

    def locate(self, ref: OutputRef) -> str:
        """The run that has the output: the one that is named, or the newest of its task."""

    def read(self, ref: OutputRef) -> Any:
        """The output of a run that is named."""

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        """The newest run for each, as soon as one differs from that ``seen``, or after ``timeout_s`` seconds."""
