"""The traffic of apps is told of as the ingresses have seen it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from flyteray._actors.controller import Traffic as TrafficDoor
from flyteray._control.apps.scaler import Size
from flyteray._control.registry.registry import Registry
from flyteray._control.traffic import metrics
from flyteray._control.traffic.seen import SeenTraffic
from flyteray._plan.traffic.access import Page, Place
from flyteray._plan.traffic.load import Beginnings, VersionLoad, VersionPlace
from flyteray._version import __version__
from flyteray.errors import RuntimeUserError

_LOOK_S = 2.0  # less than a version takes to start

logger = logging.getLogger(__name__)


class Traffic(TrafficDoor):
    """The requests to apps.

    ``sizes`` gives the versions of which something runs; ``logs`` says whether the ingresses write an access log.
    """

    def __init__(
        self, seen: SeenTraffic, sizes: Callable[[], Sequence[Size]], registry: Registry, logs: bool
    ) -> None:
        self._seen = seen
        self._sizes = sizes
        self._registry = registry
        self._logs = logs
        self._since = time.time()
        self._beginnings = Beginnings(list(map(_place, sizes())))
        self._noting = asyncio.Lock()

    async def run(self) -> None:
        """Note which versions get a backend that others had before, for as long as the controller lives."""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                await self._note()
            except Exception:
                logger.exception("Looking at the backends of versions failed; it is tried again")

    async def _note(self) -> Sequence[Size]:
        async with self._noting:
            sizes = self._sizes()
            there = list(map(_place, sizes))
            unknown = self._beginnings.unknown(there)
            self._beginnings.note(there, await self._seen.figures(unknown) if unknown else {})
            return sizes

    async def loads(self) -> list[VersionLoad]:
        sizes = await self._note()
        backends = [size.backend for size in sizes]
        figures, open_now = await asyncio.gather(self._seen.figures(backends), self._seen.open(backends))
        return [
            VersionLoad(
                app=size.app,
                version=size.version,
                ready=size.ready,
                wanted=size.wanted,
                open=open_now[size.backend],
                figures=self._beginnings.since(_place(size), figures[size.backend]),
                cold_starts=size.cold_starts,
                compared=size.compared,
            )
            for size in sizes
        ]

    async def metrics(self) -> bytes:
        loads, unseen, runs, actions = await asyncio.gather(
            self.loads(),
            self._seen.unseen(),
            asyncio.to_thread(self._registry.runs.phases),
            asyncio.to_thread(self._registry.actions.phases),
        )
        snapshot = metrics.Snapshot(
            loads=loads,
            runs=runs,
            actions=actions,
            ingresses={machine: count is not None for machine, count in unseen.items()},
            unseen={machine: count for machine, count in unseen.items() if count is not None},
            since=self._since,
            version=__version__,
        )
        return await asyncio.to_thread(metrics.text, snapshot)

    async def access(self, app: str, count: int, places: dict[str, Place]) -> dict[str, Page]:
        if not self._logs:
            raise RuntimeUserError(
                "NoAccessLog",
                "No access log is written on this cluster. FLYTERAY_ACCESS_LOG=on, set where the cluster is started, "
                "has the ingress write one.",
            )
        return await self._seen.access(app, count, places)


def _place(size: Size) -> VersionPlace:
    return size.app, size.version, size.backend
