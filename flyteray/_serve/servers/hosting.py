"""A hosting runs a server in a replica, on a thread and a loop of its own, from ``on_startup`` to ``on_shutdown``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Protocol, runtime_checkable

import uvloop

from flyteray._machine.threads import await_user_code, exit_error, silence
from flyteray._serve import loop_watch
from flyteray._serve.health_watch import HealthWatch
from flyteray._serve.loop_watch import LoopThread, LoopWatch
from flyteray._serve.servers.patches import patch
from flyteray._serve.startup import Startup, describe_wait
from flyteray.errors import RuntimeSystemError, RuntimeUserError

logger = logging.getLogger(__name__)

_GIVE_UP_S = 10.0  # for a server that was too slow to end when it is cancelled
_CANCEL_S = 2.0  # for tasks that are left to end when they are cancelled

Hook = Callable[..., Any]


class Server(Protocol):
    """A server answers requests until it is told to stop."""

    @property
    def port(self) -> int:
        """The port where it listens, once it is ready."""

    @property
    def loop(self) -> LoopThread | None:
        """The loop that handlers run on, once it is ready; None for the one that :meth:`run` runs on."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve; call ``ready`` once requests are taken. Returns when stopped, raises the error that it fails with."""

    def going_on(self) -> Collection[Any]:
        """Open requests, as far as they are known, and their background work."""

    def waits_for(self) -> str:
        """Say what is missing until it is ready, as a sentence without its full stop."""

    async def stop(self, deadline_s: float) -> None:
        """Let requests and their work end until the deadline, name the others in the log, and make ``run`` return."""


@runtime_checkable
class SelfChecking(Protocol):
    """A server that knows whether it is well."""

    def check(self) -> None:
        """Raise if it is not."""


@dataclass(eq=False, repr=False)
class Hosting:
    """Runs ``on_startup``, the server and ``on_shutdown``, in this order, as one coroutine on one loop.

    So clients, tasks and context variables of the start-up belong to the loop that the handlers run on.
    ``on_shutdown`` runs exactly once if ``on_startup`` succeeded, however the server ended.

    ``on_exit`` is called in the thread when the server ends without having been asked to; ``on_blocked`` with True when
    the loop is blocked, and with False when it answers again. ``health`` is watched from when requests are taken.
    """

    server: Server
    _: KW_ONLY
    arguments: Mapping[str, Any]  # the app's parameters by name, for the hooks
    on_startup: Hook | None = None
    on_shutdown: Hook | None = None
    on_exit: Callable[[BaseException | None], object] | None = None
    on_blocked: Callable[[bool], None] | None = None
    health: HealthWatch | None = None
    lag_limit_s: float = 3600.0  # so long the loop may be blocked before check() raises
    start_up: Startup = field(default_factory=Startup)  # the time until requests are taken
    loop: asyncio.AbstractEventLoop = field(default_factory=uvloop.new_event_loop)  # a new one

    def __post_init__(self) -> None:
        self._ready: Future[None] = Future()
        self._ended: Future[None] = Future()
        self._stopping = False
        self._in_startup = False
        self._life: asyncio.Task[None] | None = None
        self._watch: LoopWatch | None = None
        self._thread = threading.Thread(target=self._work, name="flyteray-app", daemon=True)

    async def start(self) -> None:
        """Start, and return once the server takes requests; raises the error that kept it from that."""
        self._thread.start()
        ready = asyncio.wrap_future(self._ready)
        ready.add_done_callback(silence)
        done, _ = await asyncio.wait([ready], timeout=self.start_up.left_s)
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
        if self.health is not None:
            self.health.check()
        if isinstance(self.server, SelfChecking):
            self.server.check()

    async def stop(self, deadline_s: float) -> None:
        """Stop the server as :meth:`Server.stop` says, and wait for ``on_shutdown``. Twice is harmless."""
        if self._thread.ident is None:
            return
        if not self._stopping and not self._ended.done():
            self._stopping = True
            if self.health is not None:
                await asyncio.to_thread(self.health.stop)  # it would be one more who is connected
            asyncio.run_coroutine_threadsafe(self.server.stop(deadline_s), self.loop)
        ended = asyncio.wrap_future(self._ended)
        await asyncio.wait([ended])
        ended.exception()  # logged by the thread; asked for so that asyncio does not log it again

    def going_on(self) -> Collection[Any]:
        """Open requests of the server, as far as they are known, and their background work."""
        return self.server.going_on()

    def update(self, hook: Hook, arguments: Mapping[str, Any]) -> None:
        """Call a user's function while the server runs and block until it is done; raises its error.

        An async function runs on the app's loop, a plain one in the calling thread: it never holds up the loop.
        """
        try:
            result = hook(**bind(hook, arguments))
        except SystemExit as exit_:
            raise exit_error("on_update", exit_) from exit_
        if inspect.isawaitable(result):
            awaited = await_user_code("on_update", result)
            asyncio.run_coroutine_threadsafe(awaited, self.loop).result()

    async def _too_late(self) -> RuntimeUserError:
        """Make the error for a start that takes too long, and end it, as far as it lets itself be ended."""
        give_up_s = _GIVE_UP_S
        if self._in_startup:
            place, stack = loop_watch.locate_thread(self._thread.ident or 0)
            if stack:
                give_up_s = 0.0  # code that holds up the loop can't be cancelled
            elif self._life is not None:
                place, stack = loop_watch.locate_task(self._life)
            missing = describe_wait("on_startup has not returned", place, stack)
        else:
            missing = f"{self.server.waits_for()}. "
        if self._life is not None:
            self.loop.call_soon_threadsafe(self._life.cancel)
        ended = asyncio.wrap_future(self._ended)
        ended.add_done_callback(silence)
        await asyncio.wait([ended], timeout=give_up_s)
        return self.start_up.too_late(missing)

    def _work(self) -> None:
        asyncio.set_event_loop(self.loop)
        error: BaseException | None = None
        try:
            self._life = self.loop.create_task(self._live())
            try:
                self.loop.run_until_complete(self._life)
            finally:
                self.loop.run_until_complete(_cancel(asyncio.all_tasks(self.loop)))
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        except SystemExit as exit_:  # raised on, it would end the replica's own loop
            error = exit_error("on_startup" if self._in_startup else "The app", exit_)
        except BaseException as failure:  # noqa: BLE001  # user code: it may raise anything
            error = failure
        finally:
            self._end(error)

    async def _live(self) -> None:
        if self.on_startup is not None:
            self._in_startup = True
            await _call(self.on_startup, self.arguments)
            self._in_startup = False
        try:
            await self.server.run(self._announce)
        finally:
            if self._watch is not None:
                self._watch.stop()
            if self.on_shutdown is not None:
                await _call(self.on_shutdown, self.arguments)

    def _announce(self) -> None:
        watched = self.server.loop or LoopThread.current()
        self._watch = LoopWatch(watched, self.on_blocked, self.lag_limit_s)
        self._watch.start()
        if self.health is not None:
            self.health.start()
        self._ready.set_result(None)

    def _end(self, error: BaseException | None) -> None:
        started = self._ready.done()
        if self.health is not None:
            self.health.stop()
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
            if self.on_exit is not None:
                self.on_exit(error)
        elif error is not None:
            logger.error("The app failed while it was stopped.", exc_info=error)


async def _cancel(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Let the tasks that are left on a loop clean up, as :func:`asyncio.run` does."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_S)


async def _call(function: Hook, arguments: Mapping[str, Any]) -> Any:
    """Call a user's function with the arguments that it asks for by name; await it if it is async."""
    with patch(asyncio, "run", _beside_the_loop(asyncio.run)):
        result = function(**bind(function, arguments))
    return await result if inspect.isawaitable(result) else result


def _beside_the_loop(run: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``asyncio.run`` for a plain function that is called on a running loop, which waits for it all the same."""

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
    """Choose the arguments that a function takes: all of them if it takes ``**kwargs``.

    A parameter without an argument keeps its default; without one it is Python's own TypeError when called.
    """
    wanted = inspect.signature(function).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in wanted.values()):
        return dict(arguments)
    return {name: value for name, value in arguments.items() if name in wanted}
