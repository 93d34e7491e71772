"""``flyteray.remote.Artifact`` is a version of an artifact: published, looked up, read, deleted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Literal

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, not_while_loading
from flyteray._client.catalogue import Catalogue
from flyteray._client.session.owner import without_projects
from flyteray._client.session.session import session
from flyteray._declare import context
from flyteray._handles import AsJson
from flyteray._plan.info import to_json
from flyteray._plan.triggers.artifacts import ArtifactInfo, publication, value_of
from flyteray._plan.triggers.partitions import Selection
from flyteray._plan.triggers.partitions import value_of as value_of_partition
from flyteray._plan.values.stand_in import StandIn
from flyteray.io.artifacts import Card, Kind, Metadata, new, said_of
from flyteray.io.partitions import TimePartition, partitions_of


class Artifact(Catalogue, StandIn, AsJson):
    """A version of an artifact on a cluster; a task can be given it in place of what was published.

    Attributes:
        info: All that is recorded.
    """

    def __init__(self, info: ArtifactInfo) -> None:
        self.info = info

    @property
    def name(self) -> str:
        """The name that its versions have in common."""
        return self.info.spec.name

    @property
    def version(self) -> str:
        """The version."""
        return self.info.spec.version

    @property
    def kind(self) -> str | None:
        """``"model"``, ``"data"`` or ``"generic"``; None: nobody has said it."""
        return self.info.spec.kind

    @property
    def partitions(self) -> dict[str, str | date | datetime]:
        """What part it is of all that has its name: an hour is a ``datetime`` in UTC, another time a ``date``."""
        spec = self.info.spec
        return {key: value_of_partition(spec, key) for key in spec.partitions}

    @property
    def time_partition(self) -> TimePartition | None:
        """The partition that is a time, with its granularity; None: none is."""
        spec = self.info.spec
        return next(
            (TimePartition.read(spec.partitions[key], each) for key, each in spec.times.items()), None
        )

    @property
    def source(self) -> str | None:
        """The run that has made it, else where it is said to come from; None: somebody has published it by hand."""
        return self.info.spec.run or self.info.spec.external

    @property
    def tracker(self) -> str:
        """What tells it from all others on its cluster: ``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def url(self) -> str:
        """The place where it lies."""
        return self.info.spec.place

    @staticmethod
    @Verb
    @not_while_loading("Artifact.create")
    async def create(
        value: Any,
        *,
        name: str | None = None,
        version: str | None = None,
        description: str | None = None,
        attrs: Mapping[str, str] | None = None,
        kind: Kind | None = None,
        card: Card | None = None,
        python_type: type | None = None,
        project: str | None = None,
        domain: str | None = None,
        external_ref: str | None = None,
        partitions: Mapping[str, Any] | None = None,
        parents: Sequence[str | Artifact] | None = None,
    ) -> Artifact:
        """Publish a File, Dir or DataFrame that lies where all nodes find it; inside a task, as made by that.

        Args:
            value: What to publish; what :func:`flyteray.artifacts.new` was told of it holds where nothing else is said.
            name, version, description, attrs, kind, card, partitions, parents: As of
                :class:`flyteray.artifacts.Metadata`. Default of the version: a random one. Parents can be artifacts.
            python_type: What it is to be: another value is an error.
            project, domain: Of Flyte: they mean nothing here, and say so.
            external_ref: Where it came from, for :meth:`listall`.

        Raises:
            TypeError: Something else than a File, Dir or DataFrame, or than the ``python_type``.
            ValueError: No name, or a version that there is already and is another one.
        """
        without_projects("Artifact.create", project, domain)
        if python_type is not None and not isinstance(value, python_type):
            raise TypeError(
                f"Artifact.create: expected a {python_type.__name__}, got a {type(value).__name__}."
            )
        told: dict[str, Any] = {
            "name": name,
            "version": version,
            "description": description,
            "attrs": attrs,
            "kind": kind,
            "card": card,
            "partitions": partitions,
            "parents": None if parents is None else tuple(map(_version, parents)),
        }
        given = {key: each for key, each in told.items() if each is not None}
        said = said_of(value)
        metadata = replace(said, **given) if said else Metadata(**{"name": "", **given})
        action = context.ctx().action
        made = publication(
            new(value, metadata),
            metadata,
            uuid.uuid4().hex[:12],
            action.run_name if action else None,
            action.name if action else None,
            external=external_ref,
        )
        [info] = await session().controller.artifacts.publish([made])
        return Artifact(info)

    @staticmethod
    @Verb
    async def get(
        name: str,
        version: str | Literal["latest"] = "latest",
        *,
        project: str | None = None,
        domain: str | None = None,
        partitions: Mapping[str, Any] | None = None,
        **partition_kwargs: Any,
    ) -> Artifact:
        """A version, or the newest one, of all or with some partitions.

        Args:
            name: The artifact's.
            version: Which version; ``"latest"``: the one that came last.
            project, domain: Of Flyte: they mean nothing here, and say so.
            partitions: Only with these values, which can be given as keywords as well: a date, a datetime or what is
                written like one for a partition that is a time, else a text.

        Raises:
            ArtifactNotFoundError: There is none.
            ValueError: Both a version and partitions, or more than one value of a partition.
        """
        without_projects("Artifact.get", project, domain)
        wanted = {**(partitions or {}), **partition_kwargs}
        if version != "latest" and wanted:
            raise ValueError(f"Artifact {name!r}: say a version or partitions, not both.")
        door = session().controller.artifacts
        if not wanted:
            return Artifact(await door.get(name, None if version == "latest" else version, {}))
        selection = Selection(wanted)
        if not selection.is_of_one:
            raise ValueError(f"Artifact {name!r}: lists and ranges of partitions are for Artifact.listall.")
        for info in await door.listall(name, {}, None):
            if selection.takes(info.spec):
                return Artifact(info)
        told = {key: str(value) for key, value in partitions_of(name, wanted).items()}
        return Artifact(await door.get(name, None, told))  # which says what there is

    @staticmethod
    @ListVerb
    async def listall(
        name: str | None = None,
        created_after: datetime | None = None,
        limit: int = -1,
        *,
        project: str | None = None,
        domain: str | None = None,
        source_run: str | None = None,
        source_action: str | None = None,
        source_external_ref: str | None = None,
        kind: Kind | None = None,
        attrs: Mapping[str, str | Sequence[str]] | None = None,
        latest_per_partition: bool = False,
        partitions: Mapping[str, Any] | None = None,
        **partition_kwargs: Any,
    ) -> list[Artifact]:
        """Versions, the newest first.

        Args:
            name: Only of this name.
            created_after: Only those that came later.
            limit: At most that many; -1: all.
            project, domain: Of Flyte: they mean nothing here, and say so.
            source_run: Only those that this run has made.
            source_action: Only those that this action has made.
            source_external_ref: Only those that were created with this ``external_ref``.
            kind: Only of this kind.
            attrs: Only those with these attrs; of several texts one has to be there.
            latest_per_partition: Of those with equal partitions only the newest.
            partitions: Only with these, which can be given as keywords as well: a value as of :meth:`get`, a list of
                values, or for a partition that is a time a range as a tuple of the first and the last one.

        Raises:
            ValueError: ``latest_per_partition`` without a name, or a range that is none of times.
        """
        without_projects("Artifact.listall", project, domain)
        if latest_per_partition and name is None:
            raise ValueError("Artifact.listall: latest_per_partition needs the name of an artifact.")
        selection = Selection({**(partitions or {}), **partition_kwargs})
        found = [
            each
            for each in await session().controller.artifacts.listall(name, {}, None)
            if (created_after is None or each.created_at > created_after)
            and source_run in (None, each.spec.run)
            and source_action in (None, each.spec.action)
            and source_external_ref in (None, each.spec.external)
            and kind in (None, each.spec.kind)
            and all(_has(each.spec.attrs, key, value) for key, value in (attrs or {}).items())
            and selection.takes(each.spec)
        ]
        if latest_per_partition:
            newest = {tuple(sorted(each.spec.partitions.items())): each for each in reversed(found)}
            found = sorted(newest.values(), key=lambda each: -each.id)
        return [Artifact(each) for each in (found if limit < 0 else found[:limit])]

    @MethodVerb
    async def to_python(self, python_type: type | None = None) -> Any:
        """The File, Dir or DataFrame that was published; it may be awaited, too, as in Flyte.

        Raises:
            TypeError: It is not of ``python_type``.
        """
        kept = await session().controller.artifacts.value(self.name, self.version)
        value = await asyncio.to_thread(value_of, kept)
        if python_type is not None and not isinstance(value, python_type):
            raise TypeError(f"{self!r} is a {type(value).__name__}, not a {python_type.__name__}.")
        return value

    def take(self) -> Any:
        """What a task is given in its place: as :meth:`to_python`."""
        return self.to_python()

    @MethodVerb
    @not_while_loading("Artifact.delete")
    async def delete(self) -> None:
        """Forget this version; what it names stays where it lies."""
        await session().controller.artifacts.delete(self.name, self.version)

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""
        return to_json(self.info)

    def __repr__(self) -> str:
        return f"Artifact(name={self.name!r}, version={self.version!r})"


def _version(parent: str | Artifact) -> str:
    return parent.version if isinstance(parent, Artifact) else parent


def _has(attrs: Mapping[str, str], key: str, wanted: str | Sequence[str]) -> bool:
    return attrs.get(key) in ([wanted] if isinstance(wanted, str) else wanted)
