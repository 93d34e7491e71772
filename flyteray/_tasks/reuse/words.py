"""The words that callers and the warm processes of a pool have for each other, beside the calls themselves."""

from __future__ import annotations

from typing import NamedTuple

from ray.exceptions import OutOfMemoryError, RayActorError

from flyteray._tasks.call import Call

LOST = (RayActorError, OutOfMemoryError)  # what Ray raises for a process that is no more
AT_ONCE, LATER = b"0", b"1"  # before a packed call: whether it may wait there for a slot


class Busy(NamedTuple):
    """The answer in place of a value: the call was not begun."""


def key_of(call: Call) -> str:
    """The name of an attempt."""
    return f"{call.run}/{call.action}/{call.attempt}"
