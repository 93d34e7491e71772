"""A replica is a warm process of a pool: an actor that executes one call after the other, or several at one time."""

from __future__ import annotations

from typing import Any

import ray

from flyteray._plan.actions.reuse import PLACES
from flyteray._plan.info import ActionPhase, ErrorInfo
from flyteray._plan.values.pickling import Payload, returning
from flyteray._tasks.call import ActionFailed, Call
from flyteray._tasks.execution import execute_call, execute_root_call
from flyteray._tasks.host import own_host
from flyteray._tasks.reuse.door import LATER, Busy, key_of
from flyteray._tasks.reuse.stage import Stage

CALLS, CONTROL = "calls", "control"
GROUPS = {CALLS: PLACES + 8, CONTROL: 4}  # some are always free to say that the process is busy
_PATIENCE_S = 1.0  # then it may find one elsewhere


class Replica:
    """One process; ``concurrency`` is how many calls may run in it at one time."""

    def __init__(self, concurrency: int) -> None:
        self._stage = own_host().stage = Stage(concurrency)

    @ray.method(concurrency_group=CALLS)  # type: ignore[untyped-decorator]
    def execute(self, packed: bytes, buffers: Payload | None = None) -> Any:
        """Execute a child action: its value as :func:`returning` gives it, or Busy where there is no slot for it."""
        call, arguments = Call.unpack(packed[1:], buffers)
        return self._perform(packed[:1], call, lambda: returning(execute_call(call, arguments)), Busy())

    @ray.method(concurrency_group=CALLS, num_returns=2)  # type: ignore[untyped-decorator]
    def execute_root(self, packed: bytes, buffers: Payload | None = None) -> Any:
        """Execute the root action of a run: its outputs and their size; Busy, twice, where there is no slot for it."""
        call, arguments = Call.unpack(packed[1:], buffers)
        return self._perform(packed[:1], call, lambda: execute_root_call(call, arguments), (Busy(), Busy()))

    def _perform(self, when: bytes, call: Call, function: Any, otherwise: Any) -> Any:
        patience = _PATIENCE_S if when == LATER else 0.0
        try:
            return self._stage.perform(key_of(call), patience, function, otherwise)
        except KeyboardInterrupt:
            message = f"Task {call.task!r} was cancelled."
            info = ErrorInfo(code="ActionAbortedError", message=message, final=True)
            raise ActionFailed(info, ActionPhase.ABORTED) from None

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def cancel(self, key: str) -> None:
        """Cancel a call: softly, then by the end of this process."""
        self._stage.cancel(key)

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def state(self) -> tuple[int, int, float]:
        """As :meth:`Stage.state` has it."""
        return self._stage.state()

    @ray.method(concurrency_group=CONTROL)  # type: ignore[untyped-decorator]
    def retire(self) -> bool:
        """Take no more calls; False where there is one."""
        return self._stage.retire()
