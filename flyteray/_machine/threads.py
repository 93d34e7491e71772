"""A thread of its own runs a function, which may never end, and a future has the result."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from types import FrameType
from typing import Any, TypeVar

from flyteray.errors import RuntimeUserError

T = TypeVar("T")


def in_thread(function: Callable[[], T], name: str) -> tuple[Future[T], threading.Thread]:
    """The result of a function, once it has returned, and the thread that it runs in.

    A plain thread, not an executor's: those are joined when the process ends, and this one may never end. A debugger
    of the calling thread stops in it as well; pdb sees only the thread that it was started on.
    """
    future: Future[T] = Future()
    trace = sys.gettrace()

    def work() -> None:
        if trace is not None and sys.gettrace() is None:
            sys.settrace(trace)
        future.set_running_or_notify_cancel()
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised where the result is waited for
            future.set_exception(error)

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return future, thread


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns, on an event loop and a thread of its own, whatever runs in the calling one."""
    run = contextvars.copy_context().run
    result, _ = in_thread(lambda: run(asyncio.run, coroutine), "flyteray-coroutine")
    return result.result()


def stepwise(values: AsyncGenerator[T, None]) -> Iterator[T]:
    """The values of an async generator, each asked for on one event loop that no thread has in between."""
    loop = asyncio.new_event_loop()
    run = contextvars.copy_context().run
    end = object()

    def step(awaited: Coroutine[Any, Any, Any]) -> Any:
        result, _ = in_thread(lambda: run(loop.run_until_complete, awaited), "flyteray-coroutine")
        return result.result()

    async def following() -> Any:
        return await anext(values, end)

    try:
        while (value := step(following())) is not end:
            yield value
    finally:
        step(values.aclose())
        loop.close()


def in_own_thread(
    what: str, function: Callable[..., T], /, **arguments: Any
) -> tuple[asyncio.Future[T], int]:
    """Run a function, with the caller's context variables; returns its future result and the ident of its thread.

    ``what`` is to blame, in an error, where the function wants to end the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    copied = contextvars.copy_context()

    def work() -> T:
        try:
            return copied.run(function, **arguments)
        except SystemExit as exit_:  # how uvicorn.run and many servers say that they could not start
            raise exit_error(what, exit_) from exit_

    def finish(done: Future[T]) -> None:
        if future.cancelled():
            return
        if (error := done.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())

    def tell(done: Future[T]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody asks any more
            loop.call_soon_threadsafe(finish, done)

    result, thread = in_thread(work, "flyteray-code")
    result.add_done_callback(tell)
    assert thread.ident is not None
    return future, thread.ident


def silence(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that is known already, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()


def exit_error(what: str, error: SystemExit) -> RuntimeUserError:
    """Make the error for user code that wanted to end the process."""
    how = f": {error.code}" if isinstance(error.code, str) else f" with status {error.code}."
    wrong = RuntimeUserError("SystemExit", f"{what} exited{how}")
    wrong.__cause__ = error
    return wrong


async def await_user_code(what: str, running: Awaitable[Any]) -> Any:
    """Await user code; SystemExit, which would tear down the loop instead of ending the task, is an error."""
    try:
        return await running
    except SystemExit as error:
        raise exit_error(what, error) from error


def frame_of(thread: int | None) -> FrameType | None:
    """The innermost frame of a thread, by its ident; None where it has none.

    Nothing is collected meanwhile: what garbage does as it goes lets other threads run, and one that begins or ends
    then waits for a lock that this call has, for ever, in Pythons before 3.12 (python/cpython#106883).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread or 0)
    finally:
        if collects:
            gc.enable()
