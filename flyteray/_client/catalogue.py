"""The catalogue of artifacts: which names there are, and which partitions their versions have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flyteray._client.bridge import ListVerb, Verb, not_while_loading
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._plan.triggers.partitions import PartitionSchema, Selection, value_of


class Catalogue:
    """What can be asked of all versions of an artifact together."""

    @staticmethod
    @ListVerb
    async def list_names(
        search: str | None = None, limit: int = -1, *, project: str | None = None, domain: str | None = None
    ) -> list[str]:
        """The names of all artifacts, or of those that have a text in them."""
        without_projects("Artifact.list_names", project, domain)
        names = await session().controller.artifacts.names()
        found = [name for name in names if search is None or search in name]
        return found if limit < 0 else found[:limit]

    @staticmethod
    @ListVerb
    async def partition_values(
        name: str,
        key: str,
        *,
        project: str | None = None,
        domain: str | None = None,
        limit: int = 1000,
        partitions: Mapping[str, Any] | None = None,
        **fixed: Any,
    ) -> list[Any]:
        """The values that versions of an artifact have for a partition, sorted: as of :attr:`Artifact.partitions`.

        Args:
            name: The artifact's.
            key: The partition's.
            project, domain: Of Flyte: they mean nothing here, and say so.
            limit: At most that many.
            partitions: Only of versions with these others, as of :meth:`Artifact.listall`; keywords say them as well.
        """
        without_projects("Artifact.partition_values", project, domain)
        selection = Selection({**(partitions or {}), **fixed})
        found = [
            each.spec
            for each in await session().controller.artifacts.listall(name, {}, None)
            if key in each.spec.partitions and selection.takes(each.spec)
        ]
        values = {each.partitions[key]: value_of(each, key) for each in found}
        return [values[text] for text in sorted(values)][:limit]

    @staticmethod
    @Verb
    @not_while_loading("Artifact.declare")
    async def declare(
        name: str,
        partitions: Mapping[str, Any],
        *,
        project: str | None = None,
        domain: str | None = None,
    ) -> PartitionSchema:
        """Fix which partitions the versions of an artifact have.

        One with others is published all the same, as it is known by then that its task has succeeded; but no trigger
        waits for it. Compare its :attr:`Artifact.partitions` with :meth:`get_schema`.

        Args:
            name: The artifact's.
            partitions: What each is, by key: ``date`` or ``"day"``, ``datetime`` or ``"hour"``, ``"week"``, ``"month"``
                for a time, which one at most is, ``str`` or ``int`` for a text.
            project, domain: Of Flyte: they mean nothing here, and say so.

        Raises:
            TypeError: Another kind of partition.
            ValueError: Several times, or others are fixed, or the first version that has some has others.
        """
        without_projects("Artifact.declare", project, domain)
        schema = PartitionSchema.declare(name, partitions)
        return await session().controller.artifacts.declare(name, schema)

    @staticmethod
    @Verb
    async def get_schema(
        name: str, *, project: str | None = None, domain: str | None = None
    ) -> PartitionSchema:
        """The partitions that are fixed for an artifact, else those of its first version that has some.

        Raises:
            ArtifactNotFoundError: Nothing is fixed, and there is no version.
        """
        without_projects("Artifact.get_schema", project, domain)
        return await session().controller.artifacts.schema(name)
