"""What the tasks of a run write is shown while somebody waits for it: each line behind the action that it is of."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping

from flyteray._client.history import recorded
from flyteray._client.session.session import session
from flyteray._plan.actions import logs
from flyteray._plan.actions.logs import Line, Tail
from flyteray.errors import BaseRuntimeError
from flyteray.storage import Storage
from flyteray.storage.storage import State

_LOOK_S = 0.5
_SETTLE_S = 2.0  # for the last words of an action that has ended
_SHORT = 6  # letters of an action's name, which tell it from most others


async def follow(run: str, action: str, attempt: int | None, timed: bool) -> AsyncIterator[Line]:
    """The lines of an action as they arrive, until it has ended; by default of all of its attempts from now on.

    ValueError where the run has no such action.
    """
    storage = await asyncio.to_thread(recorded.storage)
    number = attempt or max(await asyncio.to_thread(logs.attempts, storage, run, action), default=1)
    tail = Tail(storage, run, action, number, timed)
    loop = asyncio.get_running_loop()
    until: float | None = None
    while True:
        info = await recorded.find_action(run, action)
        if info.phase.is_terminal and until is None:
            until = loop.time() + _SETTLE_S
        over = until is not None and loop.time() >= until
        later = attempt is None and info.attempts > number
        for line in await asyncio.to_thread(tail.read, over or later):
            yield line
        if later:
            number += 1
            tail = Tail(storage, run, action, number, timed)
        elif over or (attempt is not None and info.attempts > attempt):
            return
        else:
            await asyncio.sleep(_LOOK_S)


def wanted(asked: bool | None) -> bool:
    """Whether lines are shown: as was asked, else where somebody looks at a terminal."""
    return sys.stderr is not None and sys.stderr.isatty() if asked is None else asked


@contextlib.asynccontextmanager
async def printing(
    run: str, say: Callable[[str], None], asked: bool | None
) -> AsyncIterator[Mapping[str, str]]:
    """Say what the tasks of a run write, line by line, until the block ends, where that is :func:`wanted`.

    In the block the last line of each action is known by the action's name.
    """
    if not wanted(asked):
        yield {}
        return
    lines = _Lines(run, await asyncio.to_thread(recorded.storage))
    ended = asyncio.Event()
    task = asyncio.create_task(_print(lines, say, ended))
    try:
        yield lines.last
        ended.set()
        await task
    finally:
        task.cancel()


async def _print(lines: _Lines, say: Callable[[str], None], ended: asyncio.Event) -> None:
    over = False
    while not over:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), _LOOK_S)
        if over := ended.is_set():
            await asyncio.sleep(_LOOK_S)  # the workers' last words
        try:
            for line in await lines.new(final=over):
                say(line)
        except BaseRuntimeError as error:  # they are there later, by get_logs
            say(f"The logs of run {lines.run} can't be shown: {error}")
            return


class _Lines:
    """The lines of all actions of a run that have not been given yet."""

    def __init__(self, run: str, storage: Storage) -> None:
        self.run = run
        self._storage = storage
        self._states: dict[str, State] = {}
        self._tails: dict[tuple[str, int], Tail] = {}
        self._tasks: dict[str, str] = {}
        self.last: dict[str, str] = {}

    async def new(self, final: bool) -> list[str]:
        """The lines that are new, each behind its action."""
        found = await asyncio.to_thread(self._read, final)
        if any(action not in self._tasks for action, _ in found):
            actions = await session().controller.runs.actions(self.run)
            self._tasks = {each.action: each.task for each in actions}
        self.last.update((action, line.text) for action, line in found if line.text.strip())
        return [f"{self._mark(action)} {line.text}" for action, line in found]

    def _mark(self, action: str) -> str:
        name = self._tasks.get(action, "").rpartition(".")[2]
        return f"({name} {action[:_SHORT]})" if name else f"({action[:_SHORT]})"

    def _read(self, final: bool) -> list[tuple[str, Line]]:
        states = {
            key: state for key, state in self._storage.states(f"runs/{self.run}").items() if "/logs/" in key
        }
        changed = {_attempt(key) for key, state in states.items() if self._states.get(key) != state}
        self._states = states
        for each in changed:
            if each not in self._tails:
                self._tails[each] = Tail(self._storage, self.run, *each)
        read = sorted(self._tails) if final else sorted(changed)
        return [(action, line) for action, number in read for line in self._tails[action, number].read(final)]


def _attempt(key: str) -> tuple[str, int]:
    """The action and the attempt that a piece of a log is of."""
    _, _, action, _, attempt, *_ = key.split("/")
    return action, int(attempt)
