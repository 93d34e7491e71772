"""``flyteray.new_condition`` has a task wait until somebody has answered a question."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import httpx

from flyteray._client.bridge import ListVerb, MethodVerb, Verb
from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._declare.context import Outcome, Trace
from flyteray._declare.options.condition import ConditionWebhook
from flyteray._handles import AsJson
from flyteray._machine.threads import in_thread
from flyteray._plan.actions.conditions import KINDS, ConditionInfo, Value, answer
from flyteray._plan.info import to_json
from flyteray.errors import BaseRuntimeError, ConditionFailedError, ConditionTimedoutError

_ASKED_S = 20.0  # how long one question to the controller waits
_POST_S = 10.0
_POSTS = 3
_PHASES = {
    "waiting": "PAUSED",
    "signalled": "SUCCEEDED",
    "timed_out": "TIMED_OUT",
    "aborted": "ABORTED",
}
_MOST = 1000  # conditions that a name is looked for among

logger = logging.getLogger(__name__)


class Condition:
    """A condition of a task, which waits for its answer.

    Attributes:
        name: The name that people answer it by.
        prompt: The question.
        data_type: The type of the answer: bool, int, float or str.
    """

    def __init__(
        self, name: str, prompt: str, data_type: type, trace: Trace | None, info: ConditionInfo | None
    ) -> None:
        self.name = name
        self.prompt = prompt
        self.data_type = data_type
        self._trace = trace
        self._info = info

    @MethodVerb
    async def wait(self) -> Any:
        """Wait for the answer, of type ``data_type``; in local mode it is asked for on the terminal.

        Raises:
            ConditionTimedoutError: nobody has answered in time.
            ConditionFailedError: nobody can answer: the run is being ended, or there is no terminal.
            RuntimeError: outside a task.
        """
        if self._trace is None or self._info is None:
            raise RuntimeError("Conditions can only be awaited within a task context.")
        outcome = await asyncio.to_thread(self._trace.recorded)
        if outcome is None:
            try:
                outcome = Outcome([await self._answer(self._info)])
            except BaseRuntimeError as error:
                outcome = Outcome([], error)
            await asyncio.to_thread(self._trace.keep, outcome)
        return outcome.value()

    async def _answer(self, info: ConditionInfo) -> Value:
        if context.ctx().mode == "local":
            return await _ask_terminal(info)
        while info.state == "waiting":
            info = await session().controller.conditions.wait(info.run, info.action, _ASKED_S)
        if info.state == "timed_out":
            raise ConditionTimedoutError(f"Nobody has answered condition {info.name!r} in time.")
        if info.value is None:
            raise ConditionFailedError(f"Condition {info.name!r} was {info.state}.")
        return info.value


async def _new_condition(
    name: str,
    /,
    prompt: str = "Approve?",
    prompt_type: Literal["text", "markdown"] = "text",
    data_type: type = bool,
    description: str = "",
    timeout: timedelta | float | None = None,
    webhook: ConditionWebhook | None = None,
) -> Condition:
    """Ask people, or another program, something: the run is paused while the condition is waited for.

    It is answered by ``flyteray signal condition RUN NAME VALUE`` or ``flyteray.remote.Condition``. The answer is
    kept: a task that is tried again is not asked again.

    Args:
        name: The name that it is answered by.
        prompt: The question.
        prompt_type: ``"text"`` or ``"markdown"``.
        data_type: bool, int, float or str: the type of the answer.
        description: More about it.
        timeout: How long it may take, in seconds or as a timedelta; None: for ever.
        webhook: Whom to tell that it waits.

    Raises:
        TypeError: another ``data_type``, or a webhook that is none.
        ValueError: a timeout of 0 or less, another ``prompt_type``, or an empty name.
        ConditionAlreadyExistsError: the task waits for another condition of this name.
    """
    if data_type not in KINDS:
        raise TypeError(f"new_condition: data_type must be bool, int, float or str, got {data_type!r}.")
    if not isinstance(name, str) or not name:
        raise ValueError(f"new_condition: the name must be a text, got {name!r}.")
    if prompt_type not in ("text", "markdown"):
        raise ValueError(f'new_condition: prompt_type must be "text" or "markdown", got {prompt_type!r}.')
    if webhook is not None and not isinstance(webhook, ConditionWebhook):
        raise TypeError(f"new_condition: webhook must be a ConditionWebhook, got {webhook!r}.")
    length = timedelta(seconds=timeout) if isinstance(timeout, (int, float)) else timeout
    if length is not None and length <= timedelta(0):
        raise ValueError(f"new_condition: timeout must be more than 0, got {timeout!r}.")
    runtime, here = context.runtime.get(), context.task_context.get()
    if runtime is None or here is None:
        return Condition(name, prompt, data_type, None, None)
    trace = runtime.trace(f"condition {name}", {})
    began = datetime.now(timezone.utc)
    info = ConditionInfo(
        run=trace.action.run_name,
        action=trace.action.name,
        parent=here.action.name,
        name=name,
        kind=KINDS[data_type],
        prompt=prompt,
        prompt_type=prompt_type,
        description=description,
        created_at=began,
        deadline=None if length is None else began + length,
    )
    if here.mode != "local":
        known = await session().controller.conditions.create(info)
        if webhook is not None and known == info:  # an earlier attempt has told of an older one
            await _tell(webhook, info)
        info = known
    return Condition(name, prompt, data_type, trace, info)


new_condition = Verb(_new_condition)


async def _tell(webhook: ConditionWebhook, info: ConditionInfo) -> None:
    """Send a webhook's request; where that fails people can still answer, so it is logged alone."""
    facts = {
        "run_name": info.run,
        "action_name": info.action,
        "condition_name": info.name,
        "prompt": info.prompt,
    }
    if webhook.app is not None:
        app = (await asyncio.to_thread(session().connect)).endpoint(webhook.app)
        facts["callback_uri"] = f"{app}/condition/{info.run}/{info.action}/signal"
    async with httpx.AsyncClient(timeout=_POST_S) as client:
        for attempt in range(_POSTS):
            try:
                (await client.post(webhook.url, json=webhook.filled(facts))).raise_for_status()
                return
            except httpx.HTTPError as error:
                logger.warning("The webhook of condition %s did not arrive: %r", info.name, error)
                await asyncio.sleep(0.5 * 2**attempt)


async def _ask_terminal(info: ConditionInfo) -> Value:
    question = f"{info.name}: {info.prompt} [{'y/n' if info.kind == 'bool' else info.kind}] "

    def ask() -> Value:
        while True:
            try:
                return answer(info.kind, input(question))
            except TypeError as error:  # as on a cluster: who answers is told, and the condition waits on
                print(error)

    told, _ = in_thread(ask, "flyteray-condition")
    timeout = None if info.deadline is None else (info.deadline - info.created_at).total_seconds()
    try:
        given: Value = await asyncio.wait_for(asyncio.wrap_future(told), timeout)
        return given
    except asyncio.TimeoutError:
        raise ConditionTimedoutError(f"Nobody has answered condition {info.name!r} in time.") from None
    except EOFError:
        raise ConditionFailedError(
            f"Condition {info.name!r} asks on the terminal in local mode, and there is none to read from."
        ) from None


class RemoteCondition(AsJson):
    """A condition of a run on the cluster, for whoever answers it.

    Attributes:
        info: All that is recorded.
    """

    def __init__(self, info: ConditionInfo) -> None:
        self.info = info

    @property
    def name(self) -> str:
        """The name."""
        return self.info.name

    @property
    def run_name(self) -> str:
        """The run that waits."""
        return self.info.run

    @property
    def action_name(self) -> str:
        """The action that it is."""
        return self.info.action

    @property
    def prompt(self) -> str:
        """The question."""
        return self.info.prompt

    @property
    def data_type(self) -> type:
        """The type of the answer."""
        return next(kind for kind, word in KINDS.items() if word == self.info.kind)

    @property
    def expected_type(self) -> type:
        """The type of the answer, too: Flyte's name for it."""
        return self.data_type

    @property
    def phase(self) -> str:
        """The phase of the action that it is, in capitals: ``PAUSED`` while it waits, ``SUCCEEDED`` once answered."""
        return _PHASES[self.info.state]

    @MethodVerb
    async def signal(self, payload: Value) -> None:
        """Answer it.

        Args:
            payload: The answer; a str is read as the type that is asked for.

        Raises:
            ConditionFailedError: it waits no more.
            TypeError: an answer of another type.
        """
        self.info = await session().controller.conditions.signal(self.info.run, self.info.action, payload)

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""
        return to_json(self.info)

    def __repr__(self) -> str:
        return f"Condition(name={self.name!r}, run_name={self.run_name!r}, state={self.info.state!r})"

    @staticmethod
    @Verb
    async def get(
        name: str, /, run_name: str | None = None, action_name: str | None = None
    ) -> RemoteCondition | None:
        """The condition of a name, or action; of several the one that waits, else the newest. None: there is none."""
        found = await session().controller.conditions.listall(run_name, action_name, False, _MOST)
        named = [info for info in found if name in (info.name, info.action)]
        named.sort(key=lambda info: info.state != "waiting")
        return RemoteCondition(named[0]) if named else None

    @staticmethod
    @ListVerb
    async def listall(
        run_name: str | None = None, action_name: str | None = None, limit: int = 100
    ) -> list[RemoteCondition]:
        """Conditions, newest first: of a run; of an action, or those that it asks for."""
        found = await session().controller.conditions.listall(run_name, action_name, False, limit)
        return [RemoteCondition(info) for info in found]
