"""An artifact as it is kept, and which ones a trigger waits for."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from pydantic import Field

from flyteray._plan.spec import Spec
from flyteray._plan.values import pickling
from flyteray._plan.values.digest import digest
from flyteray._plan.values.parser import Moment, Text
from flyteray.io.artifacts import Metadata, completed, kept_as, new, said_of
from flyteray.io.partitions import TimePartition

_MOST = 2**16  # bytes of a value: it is a path and what is known of it


class ArtifactSpec(Spec):
    """A version of an artifact: what is said of it, and what has made it; None: somebody outside of any run."""

    name: str
    version: str
    description: str = ""
    attrs: dict[str, str] = Field(default_factory=dict)
    kind: str | None = None
    card: dict[str, str] | None = None
    partitions: dict[str, str] = Field(default_factory=dict)
    times: dict[str, str] = Field(default_factory=dict)  # granularities of those that are times
    parents: tuple[str, ...] = ()
    type: str = ""
    place: str = ""
    run: str | None = None
    action: str | None = None
    external: str | None = None  # where it came from that has no run


class ArtifactInfo(Spec):
    """A version of an artifact as the registry knows it; later ones have a higher ``id``. Times are UTC."""

    id: int
    spec: ArtifactSpec
    created_at: datetime


class WatchSpec(Spec):
    """The artifacts that a trigger waits for: those of ``name``, of one version or with some partitions if given."""

    name: str
    version: str | None = None
    partitions: dict[str, str] = Field(default_factory=dict)

    def takes(self, artifact: ArtifactSpec) -> bool:
        """Whether it waits for this one."""
        return (
            artifact.name == self.name
            and self.version in (None, artifact.version)
            and self.partitions.items() <= artifact.partitions.items()
        )

    def __str__(self) -> str:
        narrower = {"version": self.version} if self.version else {} | self.partitions
        return f"artifact {self.name}" + "".join(f" {key}={value}" for key, value in narrower.items())


Publication = tuple[ArtifactSpec, bytes]  # with the pickled value


def published(
    outputs: Iterable[Any],
    run: str,
    action: str,
    declared: Mapping[str, Metadata] = MappingProxyType({}),
    parents: tuple[str, ...] = (),
) -> list[Publication]:
    """The artifacts among the outputs of an action; one that runs again has the same versions.

    ``declared`` is what its caller says of outputs, by their names; TypeError where one can be no artifact.
    ``parents`` are the versions that it was given, from which it has made those that don't say from which.
    """
    return [
        publication(new(value, metadata), metadata, f"{run}-{action}-{number}", run, action, parents)
        for number, value in enumerate(outputs)
        if (metadata := completed(declared.get(f"o{number}"), said_of(value))) is not None
    ]


def publication(
    value: Any,
    metadata: Metadata,
    version: str,
    run: str | None = None,
    action: str | None = None,
    parents: tuple[str, ...] = (),
    external: str | None = None,
) -> Publication:
    """An artifact as it is sent to be kept; ``version`` is for one that nobody has named."""
    if metadata.version_from_content:
        version = getattr(value, "hash", None) or digest(value)
    version = metadata.version or version
    payload = pickling.dump(kept_as(value, version), "artifact")
    if payload.nbytes > _MOST:
        raise TypeError(
            f"Artifact {metadata.name!r} holds {payload.nbytes} bytes itself: write them to a file."
        )
    card, parts = metadata.card, metadata.partitions or {}
    spec = ArtifactSpec(
        name=metadata.name,
        version=version,
        description=metadata.description or "",
        attrs=dict(metadata.attrs or {}),
        kind=metadata.kind,
        card=dataclasses.asdict(card) if card else None,
        partitions={key: str(value) for key, value in parts.items()},
        times={key: value.granularity for key, value in parts.items() if isinstance(value, TimePartition)},
        parents=tuple(parents if metadata.parents is None else metadata.parents),
        type=type(value).__name__,
        place=getattr(value, "path", None) or getattr(value, "uri", None) or "",
        run=run,
        action=action,
        external=external,
    )
    return spec, pickle.dumps(payload)


def inputs_from(
    artifact: ArtifactSpec, value: bytes, whole: str | None, parts: Mapping[str, str]
) -> dict[str, Any]:
    """The inputs that a trigger gives of an artifact: ``whole`` is that of it, ``parts`` those of its partitions."""
    known: dict[str, Any] = {name: _part(artifact, key) for name, key in parts.items()}
    if whole is not None:
        known[whole] = Kept(value)
    return known


def _part(artifact: ArtifactSpec, key: str) -> Text:
    """A partition as it is written, for the annotation of the input to say what it is to be."""
    text, granularity = artifact.partitions.get(key, ""), artifact.times.get(key)
    return Text(text) if granularity is None else Moment(text, TimePartition.read(text, granularity).moment)


class Kept:
    """Pickled it is the pickled value of an artifact; unpickled it is the value."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Any, ...]:
        return value_of, (self._value,)


def value_of(value: bytes) -> Any:
    """The value of an artifact again."""
    return pickling.load(pickle.loads(value))
