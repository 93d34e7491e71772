"""The interface of the keeper, which owns the outputs of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from flyteray._actors.questions import Stub

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import ray

    from flyteray._plan.spec import RunSpec
    from flyteray._plan.values.pickling import Payload


class Places(Protocol):
    """The places of runs of which no more than ``limit`` actions run at one time."""

    def take(self, run: str, limit: int, action: str, parent: str) -> Awaitable[None]:
        """Ask for a place for an action."""

    def give(self, run: str, limit: int, action: str, parent: str, last: bool) -> Awaitable[None]:
        """Give the place of an action back that has ended; its parent waits for no other where it is the ``last``."""

    def granted(self, run: str, limit: int, parent: str) -> Awaitable[list[str]]:
        """The children of an action, or itself, that were granted a place since it asked; none after a while."""


class Keeper(Protocol):
    """The keeper: it submits the root actions of runs, and holds what they return."""

    places: Places

    def submit(self, spec: RunSpec, inputs: Payload, begun: int | None = None) -> Awaitable[None]:
        """Start a run and attend to it until it has ended; asked again, it goes on as it was.

        ``begun`` is how many attempts have begun with an earlier keeper: what those have done is not done again.
        """

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
