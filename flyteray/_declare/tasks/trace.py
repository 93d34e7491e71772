"""A traced function runs once: a task that is tried again, or a run that goes on, is given what it gave before."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from flyteray._declare import context
from flyteray._declare.context import Outcome, Trace
from flyteray._declare.tasks.task import Task
from flyteray.errors import TraceDoesNotAllowNestedTasksError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def trace(func: Callable[P, R]) -> Callable[P, R]:
    """Record what a function is called with and what it gives, as an action of its own below the task that calls it.

    When the task is tried again, and when its run goes on after a loss or is recovered by :func:`rerun`, a call that
    has ended before is not made again: it returns what it returned, or raises what it raised. Outside tasks the
    function is itself.

    Args:
        func: A function, coroutine function, generator function or async generator function. It may call other traced
            functions, but no tasks. What it gives is pickled; where that can't be, a warning says so, and it is called
            again. A generator that was left before its end is called again as well.

    Returns:
        The function, to be called the same way. Inside it ``ctx().action`` is the trace, and ``ctx().task_action`` the
        task.

    Raises:
        TypeError: It is a task, or no function.
        TraceDoesNotAllowNestedTasksError: When called, it calls a task.
    """
    if isinstance(func, Task) or not callable(func):
        raise TypeError(f"trace takes a function, got {func!r}. Tasks are recorded without it.")
    traced: Callable[..., Any]
    if inspect.isasyncgenfunction(func):
        traced = _async_generator(func)
    elif inspect.iscoroutinefunction(func):
        traced = _coroutine(func)
    elif inspect.isgeneratorfunction(func):
        traced = _generator(func)
    else:
        traced = _plain(func)
    return cast("Callable[P, R]", functools.wraps(func)(traced))


async def once(name: str, inputs: Mapping[str, object], compute: Callable[[], T]) -> T:
    """The value that ``compute`` gave at the same call of an earlier attempt; without one it is called."""
    runtime = context.runtime.get()
    if runtime is None:
        return compute()
    found = runtime.trace(name, inputs)
    outcome = await _beside(found, found.recorded)
    if outcome is None:
        outcome = Outcome([compute()])
        await _beside(found, functools.partial(found.keep, outcome))
    value: T = outcome.value()
    return value


def _plain(func: Callable[..., Any]) -> Callable[..., Any]:
    begin = _beginner(func)

    def call(*args: Any, **kwargs: Any) -> Any:
        found = begin(args, kwargs)
        if found is None:
            return func(*args, **kwargs)
        if (outcome := found.recorded()) is not None:
            return outcome.value()
        try:
            with _inside(found):
                value = func(*args, **kwargs)
        except Exception as error:
            found.keep(Outcome([], error))
            raise
        found.keep(Outcome([value]))
        return value

    return call


def _coroutine(func: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    begin = _beginner(func)

    async def call(*args: Any, **kwargs: Any) -> Any:
        found = begin(args, kwargs)
        if found is None:
            return await func(*args, **kwargs)
        if (outcome := await _beside(found, found.recorded)) is not None:
            return outcome.value()
        try:
            with _inside(found):
                value = await func(*args, **kwargs)
        except Exception as error:
            await _keep(found, Outcome([], error))
            raise
        await _keep(found, Outcome([value]))
        return value

    return call


def _generator(func: Callable[..., Generator[Any, Any, Any]]) -> Callable[..., Any]:
    begin = _beginner(func)

    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        found = begin(args, kwargs)
        if found is None:
            return (yield from func(*args, **kwargs))
        if (outcome := found.recorded()) is not None:
            for item in outcome.items:  # noqa: UP028  # whatever is sent meanwhile changes nothing any more
                yield item
            return outcome.value()
        items: list[Any] = []
        steps = func(*args, **kwargs)
        step = functools.partial(next, steps)
        try:
            while True:
                with _inside(found):
                    items.append(step())
                try:
                    step = functools.partial(steps.send, (yield items[-1]))
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001  # by who goes through it: the function's to handle
                    step = functools.partial(steps.throw, thrown)
        except StopIteration as end:
            found.keep(Outcome([end.value], items=items))
            return end.value
        except Exception as error:
            found.keep(Outcome([], error, items))
            raise
        finally:
            steps.close()

    return call


def _async_generator(func: Callable[..., AsyncGenerator[Any, Any]]) -> Callable[..., Any]:
    begin = _beginner(func)

    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        found = begin(args, kwargs)
        outcome = None if found is None else await _beside(found, found.recorded)
        if outcome is not None:
            for item in outcome.items:
                yield item
            outcome.value()
            return
        items: list[Any] = []
        steps = func(*args, **kwargs)
        step = functools.partial(steps.asend, None)
        try:
            while True:
                with _inside(found):
                    items.append(await step())
                try:
                    step = functools.partial(steps.asend, (yield items[-1]))
                except GeneratorExit:
                    raise
                except BaseException as thrown:  # noqa: BLE001  # as above
                    step = functools.partial(steps.athrow, thrown)
        except StopAsyncIteration:
            await _keep(found, Outcome([None], items=items))
        except Exception as error:
            await _keep(found, Outcome([], error, items))
            raise
        finally:
            await steps.aclose()

    return call


def _beginner(
    func: Callable[..., Any],
) -> Callable[[tuple[Any, ...], dict[str, Any]], Trace | None]:
    """A function that begins the trace of a call; outside tasks there is none."""
    signature = inspect.signature(func)
    name = f"{func.__module__}.{func.__qualname__}"

    def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Trace | None:
        runtime = context.runtime.get()
        if runtime is None:
            return None
        return runtime.trace(name, signature.bind(*args, **kwargs).arguments)

    return begin


@contextlib.contextmanager
def _inside(found: Trace | None) -> Iterator[None]:
    """Be in a trace: what asks finds it to be the action that runs."""
    here = context.task_context.get()
    if found is None or here is None:
        yield
        return
    inner = here.replace(action=found.action, traced_by=here.task_action)
    tokens = context.runtime.set(_Traced(found)), context.task_context.set(inner)
    try:
        with found.current():
            yield
    finally:
        context.runtime.reset(tokens[0])
        context.task_context.reset(tokens[1])


class _Traced:
    """The ``context.runtime`` inside a trace: other functions are traced below it, tasks can't be called."""

    def __init__(self, found: Trace) -> None:
        self._found = found

    def trace(self, name: str, inputs: Mapping[str, object]) -> Trace:
        """Begin a trace below this one."""
        return self._found.trace(name, inputs)

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
        """Refuse."""
        self._refuse(task.name)

    async def acall(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
        """Refuse."""
        self._refuse(task.name)

    async def acall_deployed(self, plan: Any, inputs: Mapping[str, Any], links: Any = ()) -> NoReturn:
        """Refuse."""
        self._refuse(plan.name)

    def _refuse(self, task: str) -> NoReturn:
        raise TraceDoesNotAllowNestedTasksError(
            f"Task {task!r} is called in a function with @trace, which records no tasks. Call it outside, or as a "
            f"plain function: {task.rpartition('.')[2]}.forward(...)."
        )


async def _keep(found: Trace | None, outcome: Outcome) -> None:
    if found is not None:
        await _beside(found, functools.partial(found.keep, outcome))


async def _beside(found: Trace, ask: Callable[[], T]) -> T:
    """Ask storage, beside the event loop where that is far away."""
    return ask() if found.is_near else await asyncio.to_thread(ask)
