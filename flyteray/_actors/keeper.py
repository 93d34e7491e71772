"""The interface of the keeper, which owns the outputs of runs."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Protocol, cast

from flyteray._actors.questions import Stub
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.pickling import Payload

if TYPE_CHECKING:
    import ray


class Keeper(Protocol):
    """The keeper: it submits the root actions of runs, and holds what they return."""

    def submit(self, spec: RunSpec, inputs: Payload) -> Awaitable[None]:
        """Start a run and attend to it until it has ended; asked again, it goes on as it was."""

    def get_output(self, run: str) -> Awaitable[list[ray.ObjectRef]]:
        """The outputs of a run by reference, in a list so that Ray hands the reference on; empty when let go."""

    def let_go(self, runs: list[str]) -> Awaitable[None]:
        """Hold the outputs of these runs in the object store no more; storage has them."""

    def cancel(self, run: str) -> Awaitable[None]:
        """End a run and all its actions: first softly, after a grace period by ending their processes."""

    def holds(self) -> Awaitable[list[str]]:
        """The runs that are still going on here."""


def keeper_name(shard: int = 0) -> str:
    """The keeper that owns the outputs of a shard of the runs."""
    return f"keeper-v1-{shard}"


def keeper(shard: int = 0) -> Keeper:
    """The keeper of a shard of the runs, on the connected cluster."""
    return cast(Keeper, Stub(keeper_name(shard)))
