"""Advice on the number of replicas of an app: what a policy of the user's own returned, or why it did not."""

from __future__ import annotations

import math
import reprlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flyteray.app.scaling import Signals

STALE_S = 10.0
"""Advice counts for so many seconds: a policy that takes longer has none."""


@dataclass(frozen=True)
class Advice:
    """What a policy says: how many replicas are needed, endless for as many as may be, or what went wrong with it."""

    replicas: float | None = None
    problem: str | None = None


def asked(policy: Callable[[Signals], Any], signals: Signals) -> tuple[Advice, str | None]:
    """The advice of a policy, and the traceback of what it raised, which begins in the policy."""
    try:
        said = policy(signals)
    except BaseException as error:  # noqa: BLE001  # whatever it is, SystemExit too, the user is told
        frames = error.__traceback__.tb_next if error.__traceback__ is not None else None
        shown = "".join(traceback.format_exception(type(error), error, frames))
        return Advice(problem=f"raised {traceback.format_exception_only(error)[-1].strip()}"), shown
    return _taken(said), None


def _taken(said: Any) -> Advice:
    try:
        number = float(said)  # numpy's numbers are some too
    except Exception:  # noqa: BLE001  # a number beyond float's, a tensor of several: their own errors
        number = math.nan
    if isinstance(said, (bool, str)) or math.isnan(number):
        return Advice(problem=f"returned {reprlib.repr(said)}, which is no number of replicas")
    return Advice(replicas=number)
