"""Artifacts answer clients and workers, and wake who waits for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flyteray._control.registry.database import Database
from flyteray._control.registry.triggers.artifacts import ArtifactRecords
from flyteray._plan.triggers.artifacts import ArtifactInfo, Publication


class Artifacts(ArtifactRecords):
    """The artifacts of a cluster; ``came`` is called when there are new versions."""

    def __init__(self, database: Database, came: Callable[[], None]) -> None:
        super().__init__(database)
        self._came = came

    async def publish(self, published: Sequence[Publication]) -> list[ArtifactInfo]:
        kept = await super().publish(published)
        self._came()
        return kept
