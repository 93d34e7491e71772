"""The time that an app has to start in: one limit for all that comes before its first request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from flyteray._plan.info import STARTUP_TIMEOUT
from flyteray._serve import loop_watch
from flyteray._serve.threads import heard, in_own_thread
from flyteray.errors import RuntimeUserError

T = TypeVar("T")

# What a start-up waits for, as sentences without their full stops.
SECRETS = "its secrets have not arrived"
CODE = "the import of its code has not ended"
SERVER = "its server is still being made"


class Startup:
    """How long a start-up may take, from now until requests are taken.

    Args:
        limit_s: Seconds for all of it: import, downloads, ``on_startup``, the server.
    """

    def __init__(self, limit_s: float = 300.0) -> None:
        self._limit_s = limit_s
        self._until = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """The seconds that are left, 0 when the time is up."""
        return max(0.0, self._until - time.monotonic())

    async def step(self, missing: str | Callable[[], str], function: Callable[[], T]) -> T:
        """What a function returns that is part of the start-up.

        It runs in a thread of its own, where user code may start event loops.

        Args:
            missing: What is waited for while it runs, as a sentence without its full stop, or what tells that.
            function: Does it.

        Raises:
            RuntimeUserError: the time is up. Nothing interrupts the function then, and nobody waits for it any more.
        """
        result, ident = in_own_thread("The app", function)
        result.add_done_callback(heard)
        done, _ = await asyncio.wait([result], timeout=self.left_s)
        if not done:
            told = missing if isinstance(missing, str) else missing()
            raise self.too_late(held_up(told, *loop_watch.whereabouts(ident)))
        return result.result()

    def too_late(self, missing: str) -> RuntimeUserError:
        """The error for a start-up that takes longer than it may; ``missing`` is what it waits for, as sentences."""
        return RuntimeUserError(
            STARTUP_TIMEOUT,
            f"The app was not ready within {round(self._limit_s, 1):g} s: {missing}"
            "If it needs more time, serve it by with_servecontext(activate_timeout=...).",
        )


def held_up(missing: str, place: str, stack: str) -> str:
    """What is missing, as sentences, with the place in somebody's code that keeps it, where there is one."""
    return f"{missing}, it is held up{place}:\n{stack}\n" if stack else f"{missing}. "
