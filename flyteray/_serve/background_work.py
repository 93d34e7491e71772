"""Background work is left running by handlers when their request is answered: it is tracked, and waited for."""

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
from flyteray._serve.servers.patches import patch

logger = logging.getLogger(__name__)

_LOOK_S = 0.02
_NAMED = 10  # of the work that is cut

_handling: ContextVar[BackgroundWork | None] = ContextVar("flyteray_handling", default=None)


class BackgroundWork:
    """Tasks of asyncio, calls in executors, and threads not asked to be daemons that begin while a request is handled.

    Whatever begins in these belongs to it too; work that the start-up or a lifespan has begun does not, however long it
    runs.
    """

    def __init__(self) -> None:
        self._begun: set[Any] = set()

    @contextlib.contextmanager
    def track_process(self) -> Iterator[None]:
        """Note work that begins in this process meanwhile; tasks only on the loops of :meth:`track_tasks`."""
        with (
            patch(ThreadPoolExecutor, "submit", _tracking_submit(ThreadPoolExecutor.submit)),
            patch(ProcessPoolExecutor, "submit", _tracking_submit(ProcessPoolExecutor.submit)),
            patch(threading.Thread, "__init__", _tracking_init(threading.Thread.__init__)),
            patch(threading.Thread, "start", _tracking_start(threading.Thread.start)),
        ):
            yield

    def track_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note the tasks of a loop from now on."""
        before: Callable[..., asyncio.Task[Any]] = loop.get_task_factory() or _plain_task  # type: ignore[assignment]

        def noted(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
            task = before(loop, coroutine, **options)
            work = _handling.get()
            if work is not None and not _is_serves_own(coroutine):
                work.add(task)
            return task

        loop.set_task_factory(noted)

    @contextlib.contextmanager
    def handling(self) -> Iterator[None]:
        """Let work that begins meanwhile, in this context, be that of a handler."""
        token = _handling.set(self)
        try:
            yield
        finally:
            _handling.reset(token)

    def add(self, work: asyncio.Task[Any] | Future[Any] | threading.Thread) -> None:
        """Note work until it ends."""
        self._begun.add(work)
        if not isinstance(work, threading.Thread):
            work.add_done_callback(self._begun.discard)

    def track_requests(self, app: ASGIApp) -> ASGIApp:
        """Wrap an ASGI application so that work of its requests is noted."""

        def handle(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["type"] != "lifespan":
                _handling.set(self)  # the server has a task, and with it a context, for each request
            return app(scope, receive, send)

        return handle

    def going_on(self) -> list[Any]:
        """The work that runs at the moment."""
        begun = list(self._begun)
        ended = [each for each in begun if isinstance(each, threading.Thread) and not each.is_alive()]
        self._begun.difference_update(ended)
        return [each for each in begun if each not in ended]


class LongWork:
    """Tells whether work goes on that lasts longer than a moment, but not for ever.

    Work that has run for ``longest_s`` has become a part of the app and is not waited for.
    """

    _MOMENT_S = 1.0

    def __init__(self, going_on: Callable[[], Collection[Any]], longest_s: float) -> None:
        self._going_on = going_on
        self._longest_s = longest_s
        self._since: dict[Any, float] = {}

    def look(self) -> bool:
        """Whether there is some. Call it often: work is as old as the first look at it."""
        now = time.monotonic()
        self._since = {each: self._since.get(each, now) for each in self._going_on()}
        return any(self._MOMENT_S <= now - since < self._longest_s for since in self._since.values())


async def finish(going_on: Callable[[], Collection[Any]], deadline_s: float) -> None:
    """Wait until nothing goes on any more; work that does at the deadline is named in the log."""
    deadline = time.monotonic() + deadline_s
    # Much work tells nobody when it ends.
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
        place = loop_watch.locate_task(work)[0].removeprefix(" by ")
        return f"task {work.get_name()}{f', which is at {place}' if place else f': {work.get_coro()!r}'}"
    if isinstance(work, threading.Thread):
        place = loop_watch.locate_thread(work.ident or 0)[0].removeprefix(" by ")
        return f"thread {work.name}{f', which is at {place}' if place else ''}"
    return f"call in an executor: {getattr(work, 'flyteray_name', work)}"


def _is_serves_own(coroutine: Any) -> bool:
    """Whether a task is one of Ray Serve, such as that which collects a batch: it begins in a request, and stays."""
    frame = getattr(coroutine, "cr_frame", None)
    return frame is not None and frame.f_globals.get("__name__", "").startswith("ray.serve.")


def _plain_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
    return asyncio.Task(coroutine, loop=loop, **options)


def _tracking_submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
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
        work.add(future)
        return future

    return noted


def _tracking_init(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def noted(thread: threading.Thread, *arguments: Any, daemon: bool | None = None, **named: Any) -> None:
        init(thread, *arguments, daemon=daemon, **named)
        if daemon is None and _handling.get() is not None:
            thread.daemon = False  # handlers run in daemons, so without a word theirs would be some too

    return noted


def _tracking_start(start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
    @functools.wraps(start)
    def noted(thread: threading.Thread) -> None:
        work = _handling.get()
        # Starlette's threads for handlers stay, and end with the loop.
        if work is None or thread.daemon or type(thread).__module__.startswith("anyio."):
            start(thread)
            return
        thread.daemon = True  # Python is not to wait for work that is cut
        start(thread)
        work.add(thread)

    return noted


def _function_name(function: Any) -> str:
    while isinstance(function, functools.partial):  # asyncio.to_thread
        function = function.args[0] if function.args else function.func
    return str(getattr(function, "__qualname__", repr(function)))
