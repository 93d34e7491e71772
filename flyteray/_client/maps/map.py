"""``flyteray.map`` calls a task for each of many inputs, and gives the results in the order of the inputs."""

from __future__ import annotations

import contextvars
import itertools
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any, Literal, TypeVar, overload

from flyteray._client.bridge import loop_runs_here
from flyteray._client.maps.mapped import Mapped, mappable
from flyteray._client.maps.window import Outcome, Window
from flyteray._client.runs.remote_task import RemoteTask
from flyteray._declare import context
from flyteray._machine.own_loop import OwnLoop
from flyteray._plan import failure

R = TypeVar("R")

_AT_ONCE = 1000  # calls of a map that says no number: what a cluster has no room for waits there

_Awaited = Callable[..., Coroutine[Any, Any, R]]
_Plain = Callable[..., R]
_Inputs = Iterator[tuple[Any, ...]]


class MapVerb:
    """Calls a task for each of many inputs. Called plainly it blocks for each result; ``map.aio`` is for async code."""

    __name__ = "map"

    @overload
    def __call__(
        self,
        func: _Awaited[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[True] = True,
    ) -> Generator[R | Exception, None, None]: ...
    @overload
    def __call__(
        self,
        func: _Awaited[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> Generator[R, None, None]: ...
    @overload
    def __call__(
        self,
        func: _Plain[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[True] = True,
    ) -> Generator[R | Exception, None, None]: ...
    @overload
    def __call__(
        self,
        func: _Plain[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> Generator[R, None, None]: ...
    def __call__(
        self,
        func: Any,
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> Generator[Any, None, None]:
        """Call a task for each of many inputs, and give the results one by one, in the order of the inputs.

        Inside a run each call is a child action, and they run at the same time. Inputs are read as there is room for
        them, so there may be any number. A loop over the results that is left early cancels the calls that go on.
        Outside a run and in local mode, sync tasks are called one after the other on this thread.

        Args:
            func: A task, a handle of a deployed one, or a ``functools.partial`` of either that leaves one input open.
            iterables: The values of its inputs, in order. Each call takes one of each, until one of them has no more.
            group_name: The calls are in the group ``<task>_<group_name>``. Default: ``<task>_map``.
            concurrency: The most calls at one time. 0: as many as the cluster has room for, 1,000 of which wait there.
            return_exceptions: A call that fails gives its error as a value, which raises itself in arithmetic. False:
                the first error in the order of the inputs is raised, and the calls that go on are cancelled.

        Raises:
            TypeError: ``func`` is no task, a call would get too many inputs or too few, or an option of a wrong type.
            ValueError: ``concurrency`` is negative.
            RemoteTaskUsageError: a deployed task outside a run.
            RemoteTaskNotFoundError: there is no such deployed task or version.
        """
        _check(concurrency, group_name, iterables)
        task = mappable(func)
        found = task.fetch() if isinstance(task, RemoteTask) else task
        mapped = Mapped.of(func, found, len(iterables))
        bound, inputs = _in_group(task.name, group_name), zip(*iterables, strict=False)
        if mapped.is_one_by_one and (context.runtime.get() is None or not loop_runs_here()):
            outcomes = _one_by_one(mapped, inputs, bound)
        else:
            outcomes = _blocking(Window(mapped.call, _at_once(mapped, concurrency), bound), inputs)
        return _values(outcomes, return_exceptions)

    @overload
    def aio(
        self,
        func: _Awaited[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[True] = True,
    ) -> AsyncGenerator[R | Exception, None]: ...
    @overload
    def aio(
        self,
        func: _Awaited[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> AsyncGenerator[R, None]: ...
    @overload
    def aio(
        self,
        func: _Plain[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[True] = True,
    ) -> AsyncGenerator[R | Exception, None]: ...
    @overload
    def aio(
        self,
        func: _Plain[R],
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: Literal[False],
    ) -> AsyncGenerator[R, None]: ...
    def aio(
        self,
        func: Any,
        *iterables: Iterable[Any],
        group_name: str | None = None,
        concurrency: int = 0,
        return_exceptions: bool = True,
    ) -> AsyncGenerator[Any, None]:
        """As ``map(...)``, for ``async for``: arguments, results and errors are the same."""
        _check(concurrency, group_name, iterables)
        task = mappable(func)
        if not isinstance(task, RemoteTask):
            Mapped.of(func, task, len(iterables))  # said at once, not with the first result
        bound, inputs = _in_group(task.name, group_name), zip(*iterables, strict=False)

        async def values() -> AsyncGenerator[Any, None]:
            found = await task.fetch.aio() if isinstance(task, RemoteTask) else task
            mapped = Mapped.of(func, found, len(iterables))
            window = Window(mapped.call, _at_once(mapped, concurrency), bound)
            more = True
            try:
                while more or not window.is_empty:
                    given, more = _next(inputs, window.room) if more else ([], False)
                    for outcome in await window.step(given, more):
                        yield _value(outcome, return_exceptions)
            finally:
                await window.cancel()

        return values()


map = MapVerb()  # Flyte's name for it


def _check(concurrency: object, group_name: object, iterables: Iterable[object]) -> None:
    if not isinstance(concurrency, int):
        raise TypeError(f"map: concurrency must be an int, got {concurrency!r}.")
    if concurrency < 0:
        raise ValueError(f"map: concurrency must be 0 (no limit) or more, got {concurrency}.")
    if not isinstance(group_name, (str, type(None))):
        raise TypeError(f"map: group_name must be a str, got {group_name!r}.")
    for given in iterables:
        try:
            iter(given)  # type: ignore[call-overload]
        except TypeError:
            raise TypeError(
                f"map: the values of an input must be an iterable, got {given!r}. For one that is the same in each "
                "call give functools.partial(task, name=value)."
            ) from None


def _at_once(mapped: Mapped, concurrency: int) -> int:
    return 1 if mapped.is_one_by_one else concurrency or _AT_ONCE


def _in_group(task: str, name: str | None) -> contextvars.Context:
    """The caller's context, in the group of the calls."""
    bound = contextvars.copy_context()
    bound.run(context.enter_group, f"{task}_{name or 'map'}")
    return bound


def _next(inputs: _Inputs, room: int) -> tuple[list[tuple[Any, ...]], bool]:
    """As many inputs as there is room for, and whether there may be more."""
    given = list(itertools.islice(inputs, room))
    return given, len(given) == room


def _one_by_one(mapped: Mapped, inputs: _Inputs, bound: contextvars.Context) -> Iterator[Outcome[Any]]:
    for given in inputs:
        try:
            outcome = Outcome(bound.run(mapped.call_here, given))
        except Exception as error:  # noqa: BLE001  # a result of this call, as any other
            outcome = Outcome(error=error)
        yield outcome


def _blocking(window: Window[Any], inputs: _Inputs) -> Iterator[Outcome[Any]]:
    """Inputs are read by the caller's thread, as they would be in a loop of its own; the calls go on beside it."""
    more = True
    with OwnLoop("flyteray-map") as loop:
        while more or not window.is_empty:
            given, more = _next(inputs, window.room) if more else ([], False)
            yield from loop.run(window.step(given, more))


def _values(outcomes: Iterator[Outcome[Any]], return_exceptions: bool) -> Generator[Any, None, None]:
    for outcome in outcomes:
        yield _value(outcome, return_exceptions)


def _value(outcome: Outcome[Any], return_exceptions: bool) -> Any:
    error = outcome.error
    if error is None:
        return outcome.value
    error.__traceback__ = failure.users_frames(error.__traceback__)
    if return_exceptions:
        return error
    raise error
