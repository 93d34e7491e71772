"""An app starts within a limit of time: one for all steps before its first request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from flyteray._machine.threads import in_own_thread, silence
from flyteray._plan.info import STARTUP_TIMEOUT
from flyteray._serve import loop_watch
from flyteray.errors import RuntimeUserError

T = TypeVar("T")

# The steps that a start-up waits for, as sentences without their full stops.
SECRETS = "its secrets have not arrived"
IMAGE = "its image is still being built"
CODE = "the import of its code has not ended"
SERVER = "its server is still being made"


class Startup:
    """The time of a start-up, from now until requests are taken: import, downloads, ``on_startup``, the server."""

    def __init__(self, limit_s: float = 300.0) -> None:
        self._limit_s = limit_s
        self._until = time.monotonic() + limit_s

    @property
    def left_s(self) -> float:
        """Seconds, 0 when the time is up."""
        return max(0.0, self._until - time.monotonic())

    async def step(self, missing: str | Callable[[], str], function: Callable[[], T]) -> T:
        """Run a function of the start-up in a thread of its own, where user code may start event loops.

        ``missing`` says what is waited for meanwhile, as a sentence without its full stop. When the time is up, nothing
        interrupts the function, and this raises RuntimeUserError.
        """
        result, ident = in_own_thread("The app", function)
        result.add_done_callback(silence)
        done, _ = await asyncio.wait([result], timeout=self.left_s)
        if not done:
            told = missing if isinstance(missing, str) else missing()
            raise self.too_late(describe_wait(told, *loop_watch.locate_thread(ident)))
        return result.result()

    def too_late(self, missing: str) -> RuntimeUserError:
        """Make the error for a start-up that takes too long; ``missing`` is what it waits for, as sentences."""
        return RuntimeUserError(
            STARTUP_TIMEOUT,
            f"The app was not ready within {round(self._limit_s, 1):g} s: {missing}"
            "If it needs more time, serve it by with_servecontext(activate_timeout=...).",
        )


def describe_wait(missing: str, place: str, stack: str) -> str:
    """Name what is missing, as sentences, with the place in the code that keeps it, where there is one."""
    return f"{missing}, it is held up{place}:\n{stack}\n" if stack else f"{missing}. "
