"""The logs of an app: lines of all of its replicas, as they are written."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator

from flyteray._client.apps.handle import LogQuery
from flyteray._client.session.session import session
from flyteray._declare.near import did_you_mean
from flyteray._plan.info import AppPhase, ReplicaInfo
from flyteray.errors import AppNotFoundError, BaseRuntimeError

_LOOK_S = 2.0  # how often replicas that are new are looked for
# Serve's own lines begin so.
_SYSTEM = re.compile(r"(?:DEBUG|INFO|WARNING|ERROR) \d{4}-\d\d-\d\d .* -- ")


async def lines(app: str, query: LogQuery) -> AsyncIterator[str]:
    """The lines, until the app has stopped or is deleted, or at once unless ``follow``; errors as of ``show_logs``."""
    streams = _Streams(query)
    while True:
        try:
            info = await session().controller.apps.get(app)
            replicas = await session().controller.apps.replicas(app)
            replicas += await session().controller.apps.parts(app)
        except AppNotFoundError:
            if not streams.actors:
                raise
            return
        named = [each for each in replicas if each.replica_id.startswith(query.replica_name or "")]
        if query.replica_name and not named and not streams.actors:
            there = ", ".join(each.replica_id for each in replicas) or "none"
            meant = did_you_mean(query.replica_name, [each.replica_id for each in replicas])
            raise ValueError(f"App {app!r} has no replica {query.replica_name!r}; ready are: {there}.{meant}")
        streams.begin(named)
        async for line in streams.arriving():
            yield line
        if not replicas and info.phase in (AppPhase.FAILED, AppPhase.STOPPED):
            for line in info.error.log.splitlines() if info.error and not streams.actors else ():
                yield line
            return
        if not query.follow and not streams.open:
            return


class _Streams:
    """The logs that are being read: each stream of each replica in a thread of its own."""

    def __init__(self, query: LogQuery) -> None:
        self._query = query
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[str | BaseRuntimeError | None] = asyncio.Queue()
        self.actors: set[str] = set()  # those of the replicas that are or were read
        self.open = 0  # streams that may have more to read

    def begin(self, replicas: list[ReplicaInfo]) -> None:
        """Read those that are new."""
        for replica in replicas:
            if replica.actor_name not in self.actors:
                self.actors.add(replica.actor_name)
                for stream in ("out", "err"):
                    self.open += 1
                    # Plain threads: an executor's would keep a process that was interrupted from ending.
                    threading.Thread(target=self._read, args=(replica, stream), daemon=True).start()

    async def arriving(self) -> AsyncIterator[str]:
        """The lines of the next seconds."""
        deadline = self._loop.time() + _LOOK_S
        while (left := deadline - self._loop.time()) > 0 and (self.open or self._query.follow):
            try:
                line = await asyncio.wait_for(self._arrived.get(), left)
            except asyncio.TimeoutError:
                return
            if line is None:
                self.open -= 1
            elif isinstance(line, BaseRuntimeError):
                raise line
            else:
                yield line

    def _read(self, replica: ReplicaInfo, stream: str) -> None:
        from flyteray._actors import calls  # deferred, as the next: they need Ray
        from flyteray._cluster import logs

        end: BaseRuntimeError | None = None
        try:
            query = self._query
            part, _, unique = replica.replica_id.rpartition("#")
            origin = "" if query.raw else f"[{part}{' ' if part else ''}{unique[:8]}] "
            for line in logs.lines(
                replica.actor_name, calls.SERVE_NAMESPACE, stream, query.max_lines, query.follow
            ):
                if not (query.filter_system and _SYSTEM.match(line)):
                    self._tell(origin + line)
        except ValueError:
            pass  # it has ended
        except BaseRuntimeError as error:
            end = error
        self._tell(end)

    def _tell(self, line: str | BaseRuntimeError | None) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.put_nowait, line)
