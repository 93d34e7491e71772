"""Ray calls a hook in each new process whose variables name one: it makes a spare of one that nobody has asked for."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

import ray

from flyteray._cluster.workers.launch import OMP

if TYPE_CHECKING:
    from flyteray._serve.spares.spare import Spare

_KIND = "FLYTERAY_SPARE"
_HOOK = "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR"  # how Ray itself tells a process of its hook


def variables(kind: str, threads: int) -> dict[str, str]:
    """The variables of the processes of a kind, which make spares of those that are started for nobody.

    ``threads`` is as :func:`launch.threads_of` has it: Ray would tell the process when it gives it away.
    """
    if not kind:
        return {}
    return {_KIND: kind, _HOOK: f"{__name__}.begin", **({OMP: str(threads)} if threads else {})}


def begin() -> None:
    """Make this process a spare, if it is to be one."""
    if (spare := of_process()) is not None:
        spare.begin()


def kind() -> str:
    """The kind of this process; "" for one of which none are spare."""
    return os.environ.get(_KIND, "")


@functools.cache
def of_process() -> Spare | None:
    """This process as the spare that it was started as; None where it was started for somebody."""
    if not kind() or os.environ.get("RAY_JOB_ID") != ray.JobID.nil().hex():
        return None
    # deferred: a task that has the same variables needs none of it
    from flyteray._serve.spares.spare import Spare

    return Spare(kind())
