"""The warm processes that an environment keeps for its tasks: which there are, and how many are needed."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from flyteray._declare.options.reuse import ReusePolicy
from flyteray._plan.spec import ReuseSpec, Start, TaskSpec

PLACES = 56  # calls in one process: those that run, and those that wait for others


class PoolPlan(NamedTuple):
    """The pool of an environment, its code and its policy: what its processes are started with."""

    name: str
    environment: str  # an EnvironmentSpec as JSON
    bundle: str
    start: Start
    reuse: ReuseSpec

    def __hash__(self) -> int:  # for every call: the name is a hash of all of it
        return hash(self.name)


class ReplicaState(NamedTuple):
    """A warm process as it is: calls that run in it, all calls in it, and the seconds since the last one ended."""

    name: str
    running: int
    calls: int
    idle_s: float


class Change(NamedTuple):
    """The number of processes to start, those to end, and whether nobody needs the pool any more."""

    start: int = 0
    stop: tuple[str, ...] = ()
    over: bool = False


def reuse_spec(policy: ReusePolicy | None) -> ReuseSpec | None:
    """A policy as a plan."""
    if policy is None or policy.max_replicas == 0:
        return None
    return ReuseSpec(
        least=policy.min_replicas,
        most=policy.max_replicas,
        concurrency=policy.concurrency,
        idle_s=policy.get_idle_ttl().total_seconds(),
        scaledown_s=policy.get_scaledown_ttl().total_seconds(),
        of_one_run=policy.scope == "run",
    )


def pool_plan(task: TaskSpec, reuse: ReuseSpec, run: str, environment: str, start: Start) -> PoolPlan:
    """The pool that a task of a run is called in; tasks of one environment, code and policy have one."""
    owner, code = task.name.rpartition(".")[0], task.code.bundle or task.version or ""
    return _pool(owner, environment, code, task.code.version, start, reuse, run if reuse.of_one_run else "")


@functools.lru_cache(maxsize=1024)
def _pool(
    owner: str, environment: str, bundle: str, code: str, start: Start, reuse: ReuseSpec, run: str
) -> PoolPlan:
    of = repr((owner, environment, bundle, code, start, reuse, run))
    return PoolPlan(f"pool-{hashlib.sha256(of.encode()).hexdigest()[:16]}", environment, bundle, start, reuse)


def change(
    reuse: ReuseSpec, states: Sequence[ReplicaState], coming: int, wanted: bool, unused_s: float
) -> Change:
    """How a pool has to change.

    Args:
        reuse: Its policy.
        states: Its processes.
        coming: Those that are being started.
        wanted: Somebody has found all of them busy.
        unused_s: Seconds since anybody has asked for it.
    """
    idle_s = min([state.idle_s if not state.calls else 0.0 for state in states], default=unused_s)
    if min(idle_s, unused_s) >= reuse.idle_s and not coming:
        return Change(stop=tuple(state.name for state in states), over=True)
    there = len(states) + coming
    start = max(0, max(reuse.least, 1 if wanted or unused_s < idle_s else reuse.least) - there)
    if wanted and not start and not coming:
        busy = all(state.running >= reuse.concurrency for state in states)
        full = all(state.calls >= PLACES for state in states)  # of calls that wait: one more for the time
        start = int((busy and there < reuse.most) or full)
    if start or wanted:
        return Change(start=start)
    idle = sorted((state for state in states if not state.calls), key=lambda state: -state.idle_s)
    stop = [state.name for state in idle if state.idle_s >= reuse.scaledown_s]
    return Change(stop=tuple(stop[: max(0, there - max(reuse.least, 0))]))
