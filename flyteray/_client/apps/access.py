"""The access log of an app: an entry of each request, of all machines, in the order in which they ended."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from flyteray._client.bridge import MethodVerb
from flyteray._client.session.session import session
from flyteray._plan.info import AppPhase
from flyteray._plan.traffic.access import InOrder, Place
from flyteray.errors import AppNotFoundError

_LOOK_S = 0.5


class Accessed(ABC):
    """An app on a cluster as one whose requests are told of."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The app's name."""

    @MethodVerb
    async def access_log(self, max_lines: int = 100) -> list[dict[str, Any]]:
        """The last requests to the app that have ended, on all machines, the oldest first. Not of Flyte.

        An entry has the ``time`` of its end (UTC), ``app``, ``version``, ``backend``, ``replica``, ``key`` (its name),
        ``client``, ``method``, ``path`` (without the query, which may hold what nobody else is to read), ``status``,
        ``bytes_in``, ``bytes_out``, the milliseconds ``queue_ms``, ``connect_ms``, ``first_byte_ms`` and ``whole_ms``,
        how it ``ended`` in words, and ``request_id``. What is not known, or has not happened, is None.

        Args:
            max_lines: At most that many.

        Raises:
            RuntimeUserError: the cluster writes no access log: that is to be asked for by ``FLYTERAY_ACCESS_LOG=on``.
            TypeError: ``max_lines`` is no int.
            ValueError: It is below 1.
        """
        return [json.loads(entry) async for entry in entries(self.name, max_lines, follow=False)]

    @MethodVerb
    async def show_access_log(self, max_lines: int = 30, follow: bool = True) -> None:
        """Print the last requests to the app and then those that come until it is stopped, a JSON object each.

        The objects are as of :meth:`access_log`.

        Args:
            max_lines: How many of those that have ended already.
            follow: False: only these.

        Raises:
            RuntimeUserError, TypeError, ValueError: as :meth:`access_log`.
        """
        async for entry in entries(self.name, max_lines, follow):
            print(entry, flush=True)


async def entries(app: str, count: int, follow: bool) -> AsyncIterator[str]:
    """The last ``count`` entries, and with ``follow`` those that come until the app has stopped or is deleted.

    Errors are as of ``show_access_log``.
    """
    if isinstance(count, bool) or not isinstance(count, int):
        raise TypeError(f"max_lines must be a whole number of entries, got {count!r}.")
    if count < 1:
        raise ValueError(f"max_lines must be at least 1, got {count}.")
    traffic = session().controller.traffic
    pages = await traffic.access(app, count, {})
    in_order = InOrder()
    there = [*in_order.after(pages.values()), *([] if follow else in_order.rest())]
    for entry in there[-count:]:
        yield entry
    places: dict[str, Place] = {}
    while follow and not await _has_stopped(app):
        places |= {machine: page.place for machine, page in pages.items()}
        await asyncio.sleep(_LOOK_S)
        pages = await traffic.access(app, count, places)
        for entry in in_order.after(pages.values()):
            yield entry
    for entry in in_order.rest() if follow else ():
        yield entry


async def _has_stopped(app: str) -> bool:
    try:
        return (await session().controller.apps.get(app)).phase is AppPhase.STOPPED
    except AppNotFoundError:
        return True
