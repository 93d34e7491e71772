"""User code runs in a thread of its own, which may never end, and fails where it wants to end the process."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from flyteray._machine.threads import in_thread
from flyteray.errors import RuntimeUserError

T = TypeVar("T")


def in_own_thread(
    what: str, function: Callable[..., T], /, **arguments: Any
) -> tuple[asyncio.Future[T], int]:
    """What a function gives, once it has returned, and the thread that it runs in.

    Args:
        what: Who is to blame where it wants to end the process, which is an error.
        function: It sees the caller's context variables.
        arguments: Its own.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    copied = contextvars.copy_context()

    def work() -> T:
        try:
            return copied.run(function, **arguments)
        except SystemExit as exit_:  # how uvicorn.run and many servers say that they could not start
            raise exited(what, exit_) from exit_

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


def heard(future: asyncio.Future[Any]) -> None:
    """Ask for a failure that is known already, so that asyncio does not log it."""
    if not future.cancelled():
        future.exception()


def exited(what: str, error: SystemExit) -> RuntimeUserError:
    """The error for user code that wanted to end the process."""
    how = f": {error.code}" if isinstance(error.code, str) else f" with status {error.code}."
    wrong = RuntimeUserError("SystemExit", f"{what} exited{how}")
    wrong.__cause__ = error
    return wrong


async def exit_as_error(what: str, running: Awaitable[Any]) -> Any:
    """What an awaitable of user code gives; SystemExit would tear down the loop instead of ending the task."""
    try:
        return await running
    except SystemExit as error:
        raise exited(what, error) from error
