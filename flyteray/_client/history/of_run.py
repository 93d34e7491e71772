"""The history of a run: its actions, how each went, which of them failed first, who was told."""

from __future__ import annotations

from collections.abc import AsyncIterator

from flyteray._client.bridge import MethodVerb
from flyteray._client.history.action import Action
from flyteray._client.history.details import ActionDetails, RunDetails
from flyteray._client.history.readable import Readable
from flyteray._client.history.recorded import find_action
from flyteray._client.session.session import session
from flyteray._client.streams import StreamVerb
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo, NoticeInfo


class History(Readable):
    """What is recorded of a run and its actions."""

    @MethodVerb
    async def first_failure(self) -> ActionDetails | None:
        """The details of the action that failed first, which is often why the others did; None where none did."""
        failed = (ActionPhase.FAILED, ActionPhase.TIMED_OUT)
        found = [each for each in await self.actions.aio() if each.phase in failed and each.ended_at]
        # One that waits for another fails after it; where the clock can't tell, the root is the last.
        first = min(found, key=lambda each: (each.ended_at, each.parent is None), default=None)
        return None if first is None else await self._details_of(first.action)

    async def _details_of(self, action: str) -> ActionDetails:
        return await ActionDetails.get.aio(run_name=self.run_name, name=action)

    @MethodVerb
    async def details(self) -> RunDetails:
        """All that is recorded of the run and its actions, as they stand now."""
        return await RunDetails.get.aio(self.run_name)

    @StreamVerb
    async def watch(self, cache_data_on_done: bool = False) -> AsyncIterator[ActionDetails]:
        """The details of the root action now, and again whenever they have changed, until the run has ended.

        Args:
            cache_data_on_done: Changes nothing: inputs and outputs are read when they are asked for.
        """
        root = await Action.get.aio(run_name=self.run_name)
        async for details in root.watch():
            yield details

    @MethodVerb
    async def actions(self) -> list[ActionInfo]:
        """The actions of the run, its root ``a0`` first."""
        return await session().controller.runs.actions(self.run_name)

    @MethodVerb
    async def attempts(self, action: str = "a0") -> list[AttemptInfo]:
        """The attempts of the run's task, or of a child, the first one first. Not of Flyte.

        Args:
            action: Which one, as :meth:`actions` has it.

        Raises:
            ValueError: the run has no such action that has begun.
        """
        found = await session().controller.runs.attempts(self.run_name, action)
        if not found:
            await find_action(self.run_name, action)
        return found

    @MethodVerb
    async def notifications(self) -> list[NoticeInfo]:
        """The notifications of the run, once it has ended: when each was sent, or why it was not. Not of Flyte."""
        return await session().controller.runs.notices(self.run_name)
