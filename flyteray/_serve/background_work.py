"""What handlers leave running when their request is answered: tasks, calls in executors and threads."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from flyteray._serve import loop_watch
from flyteray._serve.servers.forwarded import ASGIApp, Receive, Scope, Send
from flyteray._serve.servers.patches import replaced

logger = logging.getLogger(__name__)

_LOOK_S = 0.02
_NAMED = 10  # of what is cut

_handling: ContextVar[Work | None] = ContextVar("flyteray_handling", default=None)


class Work:
    """What handlers have started and nobody may have waited for.

    That is what begins while a request is handled, or in what began so: tasks of asyncio, calls in executors, and
    threads that were not asked to be daemons. What the start-up or a lifespan has begun is none of it, however long it
    runs.
    """

    def __init__(self) -> None:
        self._begun: set[Any] = set()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note what begins in this process meanwhile; tasks only on loops that :meth:`watch` was told of."""
        with (
            replaced(ThreadPoolExecutor, "submit", _noted_submit(ThreadPoolExecutor.submit)),
            replaced(ProcessPoolExecutor, "submit", _noted_submit(ProcessPoolExecutor.submit)),
            replaced(threading.Thread, "__init__", _noted_init(threading.Thread.__init__)),
            replaced(threading.Thread, "start", _noted_start(threading.Thread.start)),
        ):
            yield

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note the tasks of a loop from now on."""
        before: Callable[..., asyncio.Task[Any]] = loop.get_task_factory() or _plain_task  # type: ignore[assignment]

        def noted(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            task = before(loop, coroutine, **options)
            work = _handling.get()
            if work is not None:
                work.begins(task)
            return task

        loop.set_task_factory(noted)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """What begins meanwhile, in this context, is the work of a handler."""
        token = _handling.set(self)
        try:
            yield
        finally:
            _handling.reset(token)

    def begins(self, work: asyncio.Task[Any] | Future[Any] | threading.Thread) -> None:
        """Note something until it ends."""
        self._begun.add(work)
        if not isinstance(work, threading.Thread):
            work.add_done_callback(self._begun.discard)

    def going_on(self) -> list[Any]:
        """What runs at the moment."""
        begun = list(self._begun)
        ended = [each for each in begun if isinstance(each, threading.Thread) and not each.is_alive()]
        self._begun.difference_update(ended)
        return [each for each in begun if each not in ended]


class Handled:
    """An ASGI application, of whose requests it is known what they leave running."""

    def __init__(self, app: ASGIApp, work: Work) -> None:
        self._app = app
        self._work = work

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != "lifespan":
            _handling.set(self._work)  # the server has a task, and with it a context, for each request
        return self._app(scope, receive, send)


class Lasting:
    """Tells whether work goes on that lasts longer than a moment, but not for ever.

    Args:
        going_on: What runs at the moment.
        longest_s: What has run for longer has become a part of the app and is not waited for.
    """

    _MOMENT_S = 1.0

    def __init__(self, going_on: Callable[[], Collection[Any]], longest_s: float) -> None:
        self._going_on = going_on
        self._longest_s = longest_s
        self._since: dict[Any, float] = {}

    def look(self) -> bool:
        """Whether there is some. Ask it often: nothing is older than the first look at it."""
        now = time.monotonic()
        self._since = {each: self._since.get(each, now) for each in self._going_on()}
        return any(self._MOMENT_S <= now - since < self._longest_s for since in self._since.values())


async def finish(going_on: Callable[[], Collection[Any]], deadline_s: float) -> None:
    """Wait until nothing goes on any more; what does at the deadline is named in the log."""
    deadline = time.monotonic() + deadline_s
    # Much of it tells nobody when it ends.
    while (left := going_on()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_S)
    if not left:
        return
    named = [f"- {_named(each)}" for each in list(left)[:_NAMED]]
    more = [f"- and {len(left) - _NAMED} more"] if len(left) > _NAMED else []
    logger.warning(
        "The replica ends, and with it what has not ended within the %g s of its drain:\n%s",
        round(deadline_s, 1),
        "\n".join(named + more),
    )


def _named(work: Any) -> str:
    if isinstance(work, asyncio.Task):
        place = loop_watch.waits_at(work)[0].removeprefix(" by ")
        return f"task {work.get_name()}{f', which is at {place}' if place else f': {work.get_coro()!r}'}"
    if isinstance(work, threading.Thread):
        place = loop_watch.whereabouts(work.ident or 0)[0].removeprefix(" by ")
        return f"thread {work.name}{f', which is at {place}' if place else ''}"
    return f"call in an executor: {getattr(work, 'flyteray_name', work)}"


def _plain_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


def _noted_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @functools.wraps(submit)
    def noted(executor: Any, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        work = _handling.get()
        if work is None:
            return submit(executor, function, *arguments, **named)
        token = _handling.set(None)  # the threads that it starts are its own
        try:
            future = submit(executor, function, *arguments, **named)
        finally:
            _handling.reset(token)
        future.flyteray_name = _function_name(function)  # type: ignore[attr-defined]
        work.begins(future)
        return future

    return noted


def _noted_init(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def noted(thread: threading.Thread, *arguments: Any, daemon: bool | None = None, **named: Any) -> None:
        init(thread, *arguments, daemon=daemon, **named)
        if daemon is None and _handling.get() is not None:
            thread.daemon = False  # handlers run in daemons, and who says nothing asks for none

    return noted


def _noted_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noted(thread: threading.Thread) -> None:
        work = _handling.get()
        # Starlette's threads for handlers stay, and end with the loop.
        if work is None or thread.daemon or type(thread).__module__.startswith("anyio."):
            start(thread)
            return
        thread.daemon = True  # Python is not to wait for what is cut
        start(thread)
        work.begins(thread)

    return noted


def _function_name(function: Any) -> str:
    while isinstance(function, functools.partial):  # asyncio.to_thread
        function = function.args[0] if function.args else function.func
    return str(getattr(function, "__qualname__", repr(function)))
