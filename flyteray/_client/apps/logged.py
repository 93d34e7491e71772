"""What an app writes, shown by its handle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from flyteray._client.bridge import MethodVerb


@dataclass(frozen=True)
class Wanted:
    """Which lines: the last ``max_lines`` of each stream of each replica, and those that come while ``follow``.

    ``raw`` leaves out which replica a line is of; ``filter_system`` leaves out what Ray Serve writes; ``replica_name``
    is the beginning of a replica's id.
    """

    max_lines: int = 30
    raw: bool = False
    filter_system: bool = False
    replica_name: str | None = None
    follow: bool = True


class Logged(ABC):
    """A handle of an app that shows what the app writes."""

    @abstractmethod
    def _lines(self, wanted: Wanted) -> AsyncIterator[str]:
        """The lines, each without its end."""

    async def _show_logs(
        self,
        max_lines: int = 30,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
        replica_name: str | None = None,
        follow: bool = True,
    ) -> None:
        """Print the end of what the app has written, and then what it writes until it is stopped.

        Args:
            max_lines: How many of the lines that are there, of each replica and stream.
            show_ts: The time at which a line was read before it.
            raw: Without the beginning of the replica's id before each line.
            filter_system: Without what Ray Serve writes.
            replica_name: Only of replicas whose id begins so. In local mode there is one, without a name.
            follow: False: only what is there. Not of Flyte.

        Raises:
            ValueError: no replica has such a name.
            RuntimeSystemError: the cluster's dashboard does not give the logs.
        """
        async for line in self._lines(Wanted(max_lines, raw, filter_system, replica_name, follow)):
            print(f"{_now()} {line}" if show_ts else line, flush=True)

    show_logs = MethodVerb(_show_logs)


def _now() -> str:
    return f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
