"""A verb is written once, as an async function, and blocks where it is called plainly.

The coroutines of blocking calls run on one event loop in a thread of its own, the bridge.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from flyteray._declare.loading import calling_frame, loads
from flyteray._machine.threads import in_thread
from flyteray.errors import BaseRuntimeError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

_LAST_WORDS_S = 2.0  # for what an interrupted verb still has to say


@dataclass
class _Caller:
    """The thread that has called a verb; ``interrupted`` where it has stopped waiting for it."""

    thread: threading.Thread
    interrupted: bool = False


_caller: contextvars.ContextVar[_Caller | None] = contextvars.ContextVar("flyteray_caller", default=None)


class Verb(Generic[P, R]):
    """An async function that blocks when called plainly and is awaited as ``name.aio(...)``."""

    def __init__(self, function: Callable[P, Coroutine[Any, Any, R]]) -> None:
        self.aio = function
        functools.update_wrapper(self, function)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return run_blocking(self.aio(*args, **kwargs))
        except BaseRuntimeError as error:
            # The cause has the user's frames; ours in between help nobody.
            raise error.with_traceback(None) from error.__cause__


class Found(list[R]):
    """A list that is also gone through by ``next(found, None)``, as the generators of Flyte are."""

    def __init__(self, found: Iterable[R] = ()) -> None:
        super().__init__(found)
        self._next = 0

    def __next__(self) -> R:
        if self._next >= len(self):
            raise StopIteration
        self._next += 1
        return self[self._next - 1]


class Listing(Coroutine[Any, Any, list[R]]):
    """The result of the async form of a :class:`ListVerb`: await it for the list, or go through it by ``async for``."""

    def __init__(self, listing: Coroutine[Any, Any, list[R]]) -> None:
        self._listing = listing

    def __await__(self) -> Generator[Any, Any, list[R]]:
        return self._listing.__await__()

    async def __aiter__(self) -> AsyncIterator[R]:
        for each in await self._listing:
            yield each

    def send(self, value: Any) -> Any:
        """As coroutines have it."""
        return self._listing.send(value)

    def throw(self, *error: Any) -> Any:
        """As coroutines have it."""
        return self._listing.throw(*error)

    def close(self) -> None:
        """As coroutines have it."""
        self._listing.close()


class ListVerb(Verb[P, list[R]]):
    """A :class:`Verb` that gives a list: ``name.aio(...)`` is awaited, or gone through by ``async for`` as in Flyte."""

    aio: Callable[P, Listing[R]]

    def __init__(self, function: Callable[P, Coroutine[Any, Any, list[R]]]) -> None:
        super().__init__(function)
        self.aio = lambda *args, **kwargs: Listing(function(*args, **kwargs))

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> list[R]:
        return Found(super().__call__(*args, **kwargs))


class MethodVerb(Generic[S, P, R]):
    """A method that is a :class:`Verb`: it binds to the instance as methods do."""

    def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, R]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[S]) -> MethodVerb[S, P, R]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> Verb[P, R]: ...
    def __get__(self, instance: S | None, owner: type[S]) -> MethodVerb[S, P, R] | Verb[P, R]:
        if instance is None:
            return self
        # A bound method is a callable without the first parameter; partial types can't say so.
        return Verb(self._function.__get__(instance, owner))


class ListMethodVerb(Generic[S, P, R]):
    """A method that is a :class:`ListVerb`."""

    def __init__(self, function: Callable[Concatenate[S, P], Coroutine[Any, Any, list[R]]]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type[S]) -> ListMethodVerb[S, P, R]: ...
    @overload
    def __get__(self, instance: S, owner: type[S]) -> ListVerb[P, R]: ...
    def __get__(self, instance: S | None, owner: type[S]) -> ListMethodVerb[S, P, R] | ListVerb[P, R]:
        return self if instance is None else ListVerb(self._function.__get__(instance, owner))


def not_while_loading(
    name: str,
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """A decorator of verbs that start, change or end something: code that is only being loaded can't call them.

    They raise ModuleLoadError there, which tells ``name``.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @functools.wraps(function)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            loads().refuse(name, calling_thread())
            return await function(*args, **kwargs)

        return checked

    return decorate


def warn_caller(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user's code that has called the verb which runs."""
    frame = calling_frame(calling_thread()) or sys._getframe()
    seen = frame.f_globals.setdefault("__warningregistry__", {})
    name = frame.f_globals.get("__name__")
    warnings.warn_explicit(text, category, frame.f_code.co_filename, frame.f_lineno, name, seen)


def run_blocking(coroutine: Coroutine[Any, Any, R]) -> R:
    """Run a coroutine on the bridge's own loop, in the caller's context, and block for its result.

    It works from async code too (it blocks that code's loop, as any blocking call would).
    """
    result: Future[R] = Future()
    context = contextvars.copy_context()
    caller = _Caller(threading.current_thread())
    context.run(_caller.set, caller)
    loop = _loop()
    task: list[asyncio.Task[R]] = []

    def start() -> None:
        task.append(loop.create_task(coroutine))
        task[0].add_done_callback(functools.partial(_hand_over, result))

    try:
        loop.call_soon_threadsafe(start, context=context)
        return result.result()
    except BaseException as error:
        # Ctrl+C reaches the waiting thread only: what it waits for has to end as well.
        caller.interrupted = isinstance(error, KeyboardInterrupt)
        loop.call_soon_threadsafe(lambda: task and task[0].cancel())
        if caller.interrupted:
            wait([result], timeout=_LAST_WORDS_S)
        raise


def calling_thread() -> threading.Thread:
    """The thread that has called the verb which runs, on the bridge or not."""
    caller = _caller.get()
    return threading.current_thread() if caller is None else caller.thread


def was_interrupted() -> bool:
    """Whether the one who has called the verb which runs was interrupted by Ctrl+C while it waited for it."""
    caller = _caller.get()
    return caller is not None and caller.interrupted


def run_here(coroutine: Coroutine[Any, Any, R], suspends: bool) -> R:
    """Run a coroutine to its end on this thread, or on one of its own where a loop runs on this one.

    So debuggers, signal handlers and prompts find in it what they find in a script. A coroutine that never
    ``suspends``, as it awaits nothing, runs without a loop on the thread.
    """
    if not loop_runs_here():
        return _driven(coroutine, suspends)
    context = contextvars.copy_context()
    context.run(_caller.set, _Caller(threading.current_thread()))
    result, _ = in_thread(lambda: context.run(_driven, coroutine, suspends), "flyteray-local")
    return result.result()


def loop_runs_here() -> bool:
    """Whether an event loop runs on this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Kept(threading.local):
    """A loop for each thread, kept: what users cache in globals stays bound to one that is not closed."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()


@functools.cache
def _kept() -> _Kept:
    return _Kept()


def _driven(coroutine: Coroutine[Any, Any, R], suspends: bool) -> R:
    if not suspends:
        try:
            coroutine.send(None)
        except StopIteration as done:
            result: R = done.value
            return result
        raise AssertionError(f"{coroutine!r} has suspended.")
    loop = _kept().loop
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        task.cancel()  # Ctrl+C ends the waiting only
        raise


def _hand_over(result: Future[R], task: asyncio.Task[R]) -> None:
    if task.cancelled():
        result.cancel()
        result.set_running_or_notify_cancel()
    elif (error := task.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="flyteray-bridge", daemon=True).start()
    return loop
