"""A server inside a replica: a thread and a loop of its own, from the user's start-up to their shutdown."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import Any, Protocol

import uvloop

from flyteray._serve import loop_watch
from flyteray._serve.loop_watch import LoopThread, LoopWatch
from flyteray._serve.servers.patches import replaced
from flyteray._serve.startup import Startup, held_up
from flyteray._serve.threads import exit_as_error, exited, heard
from flyteray.errors import RuntimeSystemError, RuntimeUserError

logger = logging.getLogger(__name__)

_GIVE_UP_S = 10.0  # for a server that was too slow to end when it is cancelled
_CANCEL_S = 2.0  # for tasks that are left to end when they are cancelled

Hook = Callable[..., Any]


class Server(Protocol):
    """Something that answers requests until it is told to stop."""

    @property
    def port(self) -> int:
        """Where it listens, once it is ready."""

    @property
    def loop(self) -> LoopThread | None:
        """The loop that handlers run on, once it is ready; None for the one that :meth:`run` runs on."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve; call ``ready`` once requests are taken. Returns when stopped, raises what made it fail."""

    def going_on(self) -> Collection[Any]:
        """What is open, as far as it is known, and what requests have left running."""

    def waits_for(self) -> str:
        """What is missing until it is ready, as a sentence without its full stop."""

    async def stop(self, deadline_s: float) -> None:
        """Let what goes on end until the deadline, name what does not in the log, and make ``run`` return."""


class Hosting:
    """Runs ``on_startup``, the server and ``on_shutdown``, in this order, as one coroutine on one loop.

    So what the start-up creates (clients, tasks, context variables) belongs to the loop that the handlers run
    on. ``on_shutdown`` runs exactly once if ``on_startup`` succeeded, however the server ended.

    Args:
        server: What to run.
        arguments: The app's parameters by name, for the hooks.
        on_startup: The user's function, sync or async, or None.
        on_shutdown: Likewise.
        on_exit: Called in the thread when the server ends without having been asked to.
        on_blocked: Called with True when the loop is blocked, and with False when it answers again.
        lag_limit_s: How long the loop may be blocked before :meth:`check` raises; an hour by default.
        start_up: The time that is left until requests are taken; 300 seconds by default.
        loop: A new event loop; one of uvloop by default.
    """

    def __init__(
        self,
        server: Server,
        *,
        arguments: Mapping[str, Any],
        on_startup: Hook | None = None,
        on_shutdown: Hook | None = None,
        on_exit: Callable[[BaseException | None], None] | None = None,
        on_blocked: Callable[[bool], None] | None = None,
        lag_limit_s: float = 3600.0,
        start_up: Startup | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._server = server
        self._arguments = arguments
        self._on_startup = on_startup
        self._on_shutdown = on_shutdown
        self._on_exit = on_exit
        self._on_blocked = on_blocked
        self._lag_limit_s = lag_limit_s
        self._start_up = start_up or Startup()
        self._loop = loop or uvloop.new_event_loop()
        self._ready: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._stopping = False
        self._in_startup = False
        self._living: asyncio.Task[None] | None = None
        self._watch: LoopWatch | None = None
        self._thread = threading.Thread(target=self._work, name="flyteray-app", daemon=True)

    async def start(self) -> None:
        """Start, and return once the server takes requests; raises what kept it from that.

        Raises:
            RuntimeUserError: it took longer than it may.
        """
        self._thread.start()
        ready = asyncio.wrap_future(self._ready)
        ready.add_done_callback(heard)
        done, _ = await asyncio.wait([ready], timeout=self._start_up.left_s)
        if not done:
            raise await self._too_late()
        await ready

    def check(self) -> None:
        """Raise if the server has ended or its loop is blocked beyond the limit. Call it periodically."""
        if self._ended.done():
            raise RuntimeUserError(
                "ServerExited", f"The app's server has ended: {self._ended.exception() or 'it returned'}"
            )
        if self._watch is not None:
            self._watch.check()

    async def stop(self, deadline_s: float) -> None:
        """Stop the server, letting what goes on end until the deadline, and wait for ``on_shutdown``.

        Doing it again, or after the server ended by itself, is harmless.
        """
        if self._thread.ident is None:
            return
        if not self._stopping and not self._ended.done():
            self._stopping = True
            asyncio.run_coroutine_threadsafe(self._server.stop(deadline_s), self._loop)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait([ended])
        ended.exception()  # logged by the thread; asked for so that asyncio does not log it again

    def going_on(self) -> Collection[Any]:
        """What is open, as far as it is known, and what requests have left running."""
        return self._server.going_on()

    def update(self, hook: Hook, arguments: Mapping[str, Any]) -> None:
        """Call a user's function while the server runs and block until it is done; raises what it raises.

        An async one runs on the app's loop, another one in the calling thread: it never holds up the loop.
        """
        try:
            result = hook(**bind(hook, arguments))
        except SystemExit as exit_:
            raise exited("on_update", exit_) from exit_
        if inspect.isawaitable(result):
            awaited = exit_as_error("on_update", result)
            asyncio.run_coroutine_threadsafe(awaited, self._loop).result()

    async def _too_late(self) -> RuntimeUserError:
        """The error for a start that takes too long; what has started is ended, as far as it lets itself be."""
        give_up_s = _GIVE_UP_S
        if self._in_startup:
            place, stack = loop_watch.whereabouts(self._thread.ident or 0)
            if stack:
                give_up_s = 0.0  # what holds up the loop can't be cancelled
            elif self._living is not None:
                place, stack = loop_watch.waits_at(self._living)
            missing = held_up("on_startup has not returned", place, stack)
        else:
            missing = f"{self._server.waits_for()}. "
        if self._living is not None:
            self._loop.call_soon_threadsafe(self._living.cancel)
        ended = asyncio.wrap_future(self._ended)
        ended.add_done_callback(heard)
        await asyncio.wait([ended], timeout=give_up_s)
        return self._start_up.too_late(missing)

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        error: BaseException | None = None
        try:
            self._living = self._loop.create_task(self._life())
            try:
                self._loop.run_until_complete(self._living)
            finally:
                self._loop.run_until_complete(_cancel(asyncio.all_tasks(self._loop)))
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        except SystemExit as exit_:  # raised on, it would end the replica's own loop
            error = exited("on_startup" if self._in_startup else "The app", exit_)
        except BaseException as failure:  # noqa: BLE001  # user code: it may raise anything
            error = failure
        finally:
            self._end(error)

    async def _life(self) -> None:
        if self._on_startup is not None:
            self._in_startup = True
            await call(self._on_startup, self._arguments)
            self._in_startup = False
        try:
            await self._server.run(self._announce)
        finally:
            if self._watch is not None:
                self._watch.stop()
            if self._on_shutdown is not None:
                await call(self._on_shutdown, self._arguments)

    def _announce(self) -> None:
        watched = self._server.loop or LoopThread.current()
        self._watch = LoopWatch(watched, self._on_blocked, self._lag_limit_s)
        self._watch.start()
        self._ready.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        started = self._ready.done()
        if error is not None:
            self._ended.set_exception(error)
        else:
            self._ended.set_result(None)
        if not started:
            self._ready.set_exception(
                error or RuntimeSystemError("ServerNotStarted", "The server ended before it was ready.")
            )
        elif not self._stopping:
            logger.error("The app's server ended by itself.", exc_info=error)
            if self._on_exit is not None:
                self._on_exit(error)
        elif error is not None:
            logger.error("The app failed while it was stopped.", exc_info=error)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """What is left on a loop that ends may clean up, as with :func:`asyncio.run`."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_S)


async def call(function: Hook, arguments: Mapping[str, Any]) -> Any:
    """Call a user's function with the arguments that it asks for by name; await it if it is async."""
    with replaced(asyncio, "run", _beside_the_loop(asyncio.run)):
        result = function(**bind(function, arguments))
    return await result if inspect.isawaitable(result) else result


def _beside_the_loop(run: Callable[..., Any]) -> Callable[..., Any]:
    """``asyncio.run`` for a plain function that is called on a running loop, which waits for it all the same."""

    @functools.wraps(run)
    def run_beside(*arguments: Any, **options: Any) -> Any:
        running = asyncio._get_running_loop()
        if running is None or getattr(asyncio, "_nest_patched", False):
            return run(*arguments, **options)
        asyncio._set_running_loop(None)
        try:
            return run(*arguments, **options)
        finally:
            asyncio._set_running_loop(running)
            asyncio.set_event_loop(running)

    return run_beside


def bind(function: Hook, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a function takes; all of them if it takes ``**kwargs``.

    Arguments without a parameter keep their default; a missing one is Python's own TypeError when called.
    """
    wanted = inspect.signature(function).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in wanted.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in wanted}
