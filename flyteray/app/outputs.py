"""Where outputs of tasks are read from: the cluster, once this process has said that it wants one."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from flyteray.errors import InitializationError

if TYPE_CHECKING:
    from flyteray.app.sources import RunOutput

Read = Callable[["RunOutput"], Awaitable[Any]]


class ClusterOutputs:
    """The outputs of runs on the cluster, for those who have only declared which one they mean."""

    def __init__(self) -> None:
        self._read: Read | None = None

    def ask(self, read: Read) -> None:
        """Read by ``read`` from now on."""
        self._read = read

    async def read(self, output: RunOutput) -> Any:
        """The output.

        Raises:
            InitializationError: nobody has said where to read.
        """
        if self._read is None:
            raise InitializationError(
                "InitializationError",
                "user",
                f"{output!r} can't be read yet: say by flyteray.init() which cluster has it.",
            )
        return await self._read(output)


@functools.cache
def cluster_outputs() -> ClusterOutputs:
    """Those that this process can read."""
    return ClusterOutputs()
