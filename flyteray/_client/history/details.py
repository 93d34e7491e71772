"""The details of an action and of a run: how they stood when they were asked for, with all times."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from flyteray._client.bridge import MethodVerb, Verb
from flyteray._client.history import recorded
from flyteray._client.history.times import ActionTimes
from flyteray._client.session.session import session
from flyteray._declare.facts import ActionID, CodeBundle, Owner
from flyteray._handles import AsJson, Awaited
from flyteray._plan import failure
from flyteray._plan.actions import logs
from flyteray._plan.actions.names import ROOT
from flyteray._plan.info import ActionInfo, ActionPhase, AttemptInfo, ErrorInfo, RunInfo, to_json
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs
from flyteray.errors import ActionAbortedError, BaseRuntimeError, RuntimeSystemError, RuntimeUserError


class AbortInfo(NamedTuple):
    """Why an action was aborted."""

    reason: str


class ActionDetails(ActionTimes, Awaited, AsJson):
    """An action as it stood when it was asked for. It may be awaited, which gives itself.

    Attributes:
        info: All that is recorded of it.
        attempt_list: Its attempts, the first one first.
    """

    def __init__(
        self,
        info: ActionInfo,
        attempts: list[AttemptInfo],
        run: RunInfo,
        owner: Owner,
        spec: RunSpec | None = None,
    ) -> None:
        self.info = info
        self.attempt_list = attempts
        self._run = run
        self._owner = owner
        self._spec = spec

    @staticmethod
    @Verb
    async def get(
        uri: str | None = None, /, run_name: str | None = None, name: str | None = None
    ) -> ActionDetails:
        """The details of an action.

        Args:
            uri: Its :attr:`Action.url`, or
            run_name: the name of its run, and
            name: its own name, as :meth:`Action.listall` has it. Default: that of the run's root.

        Raises:
            ValueError: the run has no such action that has begun, or neither is given.
            RunNotFoundError: there is no such run.
        """
        run, action = place_of(uri, run_name, name)
        runs = session().controller.runs
        info = await recorded.find_action(run, action)
        attempts, about, spec = await asyncio.gather(
            runs.attempts(run, action), runs.get(run), runs.spec(run)
        )
        return ActionDetails(info, attempts, about, spec.owner, spec)

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.action

    @property
    def run_name(self) -> str:
        """The name of its run."""
        return self.info.run

    @property
    def action_id(self) -> ActionID:
        """Its name, that of its run, and whose that is."""
        return ActionID(self.name, self.run_name, *self._owner)

    @property
    def task_name(self) -> str:
        """The full name of its task."""
        return self.info.task

    @property
    def parent_name(self) -> str | None:
        """The name of the action that has called it; None for the root."""
        return self.info.parent

    @property
    def phase(self) -> ActionPhase:
        """Its phase."""
        return self.info.phase

    raw_phase = phase

    @property
    def is_running(self) -> bool:
        """Whether it runs."""
        return self.phase is ActionPhase.RUNNING

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.phase.is_terminal

    @property
    def attempts(self) -> int:
        """How many attempts it has had."""
        return self.info.attempts

    @property
    def error_info(self) -> ErrorInfo | None:
        """Why it has failed; None where it has not."""
        if self.info.error is None or self.phase is ActionPhase.ABORTED:
            return None
        if self.info.parent is None and self._run.error is not None:
            return self._run.error
        code, _, message = self.info.error.partition(": ")
        return ErrorInfo(code=code, message=message)

    @property
    def error_message(self) -> str:
        """Why it has failed or was aborted, in words; empty where it has not."""
        return self.info.error or ""

    @property
    def abort_info(self) -> AbortInfo | None:
        """Why it was aborted; None where it was not."""
        return AbortInfo(self.info.error or "") if self.phase is ActionPhase.ABORTED else None

    @property
    def code_bundle(self) -> CodeBundle | None:
        """The code that was shipped for its run; None where none was."""
        return None if self._spec is None else recorded.code_of(self._spec)

    @MethodVerb
    async def logs_available(self, attempt: int | None = None) -> bool:
        """Whether it has written something that is kept."""
        found = await asyncio.to_thread(logs.lines, recorded.storage(), self.run_name, self.name, attempt)
        return bool(found)

    @MethodVerb
    async def inputs(self) -> ActionInputs:
        """Its inputs by name; errors as of :meth:`Run.inputs`."""
        return await recorded.inputs_of(self.run_name, self.name)

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """Its outputs.

        Raises:
            BaseRuntimeError: it has failed, was aborted, or has not ended.
            OutputNotFoundError: they can't be read here.
        """
        self.raise_for_status()
        return await recorded.outputs_of(self.run_name, self.name)

    def raise_for_status(self) -> None:
        """Raise the error of an action that failed, was aborted or has not ended; nothing otherwise."""
        if (error := error_of(self)) is not None:
            raise error

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded of it, as plain values."""
        return to_json(self.info) | {"attempt_list": [to_json(each) for each in self.attempt_list]}

    def __repr__(self) -> str:
        return f"ActionDetails(run={self.run_name!r}, name={self.name!r}, task={self.task_name!r}, phase={self.phase})"


class RunDetails(Awaited, AsJson):
    """A run as it stood when it was asked for. It may be awaited, which gives itself.

    Attributes:
        action_details: The details of its root action.
        actions: All of its actions, the root first.
    """

    def __init__(self, info: RunInfo, action_details: ActionDetails, actions: list[ActionInfo]) -> None:
        self.info = info
        self.action_details = action_details
        self.actions = actions

    @staticmethod
    @Verb
    async def get(name: str) -> RunDetails:
        """The details of a run; RunNotFoundError where there is none of that name."""
        runs = session().controller.runs
        info, actions = await asyncio.gather(runs.get(name), runs.actions(name))
        return RunDetails(info, await ActionDetails.get.aio(run_name=name), actions)

    @property
    def name(self) -> str:
        """Its name."""
        return self.info.name

    @property
    def task_name(self) -> str:
        """The full name of its task."""
        return self.info.task

    @property
    def action_id(self) -> ActionID:
        """The root action, its run, and whose that is."""
        return self.action_details.action_id

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.info.labels

    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.info.phase.is_terminal

    @MethodVerb
    async def inputs(self) -> ActionInputs:
        """Its inputs by name; errors as of :meth:`Run.inputs`."""
        return await self.action_details.inputs.aio()

    @MethodVerb
    async def outputs(self) -> ActionOutputs:
        """Its outputs; errors as of :meth:`ActionDetails.outputs`."""
        return await self.action_details.outputs.aio()

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded of it, as plain values."""
        return to_json(self.info) | {"actions": [to_json(each) for each in self.actions]}

    def __repr__(self) -> str:
        return f"RunDetails(name={self.name!r}, task={self.task_name!r}, phase={self.info.phase})"


def error_of(details: ActionDetails) -> BaseRuntimeError | None:
    """The error of an action that has not ended well; None where it has."""
    what = f"Action {details.name!r} of run {details.run_name!r}"
    if not details.done():
        return RuntimeUserError("ActionNotDoneError", f"{what} is {details.phase}: wait() for it first.")
    if details.phase is ActionPhase.ABORTED:
        return ActionAbortedError(details.error_message or f"{what} was aborted.")
    if details.phase in (ActionPhase.SUCCEEDED, ActionPhase.RECOVERED):
        return None
    if details.error_info is not None:
        return failure.restore(details.error_info)
    return RuntimeSystemError("UnknownActionFailure", f"{what} is {details.phase}, and nothing says why.")


def place_of(uri: str | None, run_name: str | None, name: str | None) -> tuple[str, str]:
    """The run and the action that are meant by an address, or by names; ValueError where neither is given."""
    if uri is not None:
        words = uri.rstrip("/").split("/")
        if len(words) > 1:
            return words[-2], words[-1]
        raise ValueError(f"{uri!r} is no address of an action: it ends in RUN/ACTION.")
    if run_name is None:
        raise ValueError("Say which action: run_name=... and name=..., or its address.")
    return run_name, name or ROOT
