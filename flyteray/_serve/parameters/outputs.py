"""The outputs of tasks that an app on a cluster takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flyteray._actors.asked import answer
from flyteray._actors.controller import controller
from flyteray._plan.spec import OutputRef
from flyteray._tasks import outputs


def locate_output(ref: OutputRef) -> str:
    """The run whose output a parameter refers to: the one it names, or the newest of its task."""
    return ref.run_name or answer(controller().outputs.locate(ref))


def read_output(ref: OutputRef) -> Any:
    """The output of a run that a parameter refers to, from the object store or storage."""
    assert ref.run_name is not None
    return outputs.load(ref.run_name, ref.getter)


def newer_outputs(refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
    """The newest run for each, as soon as one of them is another than the one ``seen``, or after ``timeout_s``."""
    return answer(controller().outputs.newer(list(refs), list(seen), timeout_s))
