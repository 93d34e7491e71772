"""Artifacts are files, folders and tables that are kept under a name, in versions; here is what is said of one."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeVar, cast

from flyteray.io.dataframe import DataFrame
from flyteray.io.dir import Dir
from flyteray.io.file import File
from flyteray.io.partitions import partitions_of

Kind: TypeAlias = Literal["model", "data", "generic"]
CardFormat: TypeAlias = Literal["html", "md", "json", "yaml", "csv", "tsv", "png", "jpg", "jpeg"]
_KINDS = ("model", "data", "generic")
_FORMATS = ("html", "md", "json", "yaml", "csv", "tsv", "png", "jpg", "jpeg")
_SAID = "_flyteray_artifact"
_VERSION = "_flyteray_version"
_PRODUCED: ContextVar[tuple[tuple[str, Metadata], ...]] = ContextVar("flyteray_produced", default=())
T = TypeVar("T", bound="File[Any] | Dir[Any] | DataFrame")


@dataclass(frozen=True, kw_only=True)
class Card:
    """A page about an artifact: what a model was trained on, how good it is.

    Args:
        uri: Where it lies.
        format: What it is written in.
        card_type: What it is about: ``"model"``, ``"data"`` or ``"generic"``.

    Raises:
        ValueError: No place, another format or another type.
    """

    uri: str
    format: CardFormat = "html"
    card_type: Kind = "generic"

    def __post_init__(self) -> None:
        if not self.uri:
            raise ValueError("Card needs the uri of its page, got an empty one.")
        _one_of("Card format", self.format, _FORMATS)
        _one_of("Card card_type", self.card_type, _KINDS)


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What is said of an artifact.

    Args:
        name: Under which it is found; its versions have the same.
        version: Which one; a version never changes. Default: one that follows from the action that makes it.
        description: For people.
        attrs: Further texts by name.
        card: A page about it.
        kind: ``"model"``, ``"data"`` or ``"generic"``.
        partitions: What part it is of all that has this name: texts, dates, :class:`TimePartition`, by key; one at most
            is a time.
        parents: Versions that it was made from. Default: of what a task makes, those that the task was given.
        version_from_content: Name the version by the ``hash`` of the content, so that equal content is one version.

    Raises:
        TypeError: Attrs or partitions of a wrong type.
        ValueError: An empty name, another kind, several partitions that are times, or a version that is named and is to
            follow from the content.
    """

    name: str
    version: str | None = None
    description: str | None = None
    attrs: Mapping[str, str] | None = None
    card: Card | None = None
    kind: Kind | None = None
    partitions: Mapping[str, Any] | None = None
    parents: tuple[str, ...] | None = None
    version_from_content: bool = False

    def __post_init__(self) -> None:
        if not self.name or not isinstance(self.name, str):
            raise ValueError(f"An artifact needs a name, got {self.name!r}.")
        if self.kind is not None:
            _one_of("Metadata kind", self.kind, _KINDS)
        if self.version is not None and self.version_from_content:
            raise ValueError(f"Artifact {self.name!r}: say version or version_from_content, not both.")
        for key, value in (self.attrs or {}).items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise TypeError(f"Artifact {self.name!r}: attrs must map str to str, got {key!r}: {value!r}.")
        object.__setattr__(self, "partitions", partitions_of(self.name, self.partitions or {}))

    @classmethod
    def create_model_metadata(
        cls,
        *,
        name: str,
        version: str | None = None,
        description: str | None = None,
        card: Card | None = None,
        framework: str | None = None,
        model_type: str | None = None,
        architecture: str | None = None,
        task: str | None = None,
        modality: tuple[str, ...] = ("text",),
        serial_format: str = "safetensors",
        attrs: Mapping[str, str] | None = None,
        partitions: Mapping[str, Any] | None = None,
    ) -> Metadata:
        """What is said of a model: ``attrs`` with those that models have, which go before others of their names.

        Args:
            name, version, description, card, attrs, partitions: As of any artifact.
            framework, model_type, architecture, task, serial_format: Attrs of these names.
            modality: Joined by commas the attr of this name.
        """
        own = {
            "framework": framework or "",
            "model_type": model_type or "",
            "architecture": architecture or "",
            "task": task or "",
            "modality": ",".join(modality),
            "serial_format": serial_format,
        }
        return cls(
            name=name,
            version=version,
            description=description,
            attrs={**(attrs or {}), **own},
            card=card,
            kind="model",
            partitions=partitions,
        )


def new(obj: T, metadata: Metadata) -> T:
    """A file, folder or table that becomes an artifact where a task with ``produces_artifacts=True`` returns it.

    It is one of the task's outputs itself, not a part of one. It can be used as what it was.

    Args:
        obj: A File, Dir or DataFrame. A table that is in memory is written to storage at once.
        metadata: What is said of it.

    Raises:
        TypeError: Something else, or a DataFrame that is none.
    """
    if not isinstance(obj, (File, Dir, DataFrame)):
        raise TypeError(
            f"Only a File, a Dir or a DataFrame of flyteray.io can be an artifact, got a {type(obj).__qualname__}. "
            "Write it to a file first."
        )
    if not isinstance(metadata, Metadata):
        raise TypeError(f"artifacts.new needs a Metadata(name=...), got {metadata!r}.")
    if isinstance(obj, DataFrame) and obj.uri is None and obj.val is None:
        raise TypeError(f"Artifact {metadata.name!r}: the DataFrame holds no frame and is nowhere.")
    lies = cast(T, obj.stored()) if isinstance(obj, DataFrame) and obj.uri is None else obj
    made = copy.copy(lies)
    object.__setattr__(made, _SAID, metadata)
    return made


@contextlib.contextmanager
def produces(**outputs: Metadata) -> Iterator[None]:
    """Have outputs of the tasks that are called in this block be artifacts, which need not know of it.

    A task has to run with ``produces_artifacts=True``, as by ``task.override(produces_artifacts=True)``. Where it has
    wrapped the output by :func:`new` itself, that fills in what is not said here. What such a task calls itself knows
    nothing of this; outside of tasks it changes nothing.

    Args:
        outputs: What is said of each output, by its name: ``o0`` is the first one.

    Raises:
        TypeError: Not a :class:`Metadata`, or no name of an output.
    """
    for name, metadata in outputs.items():
        if not (name.startswith("o") and name[1:].isdecimal()) or not isinstance(metadata, Metadata):
            raise TypeError(
                f"artifacts.produces takes o0=Metadata(...), o1=... and so on, got {name}={metadata!r}."
            )
    token = _PRODUCED.set(tuple(outputs.items()))
    try:
        yield
    finally:
        _PRODUCED.reset(token)


def produced() -> tuple[tuple[str, Metadata], ...]:
    """What :func:`produces` says around here of the outputs of what is called."""
    return _PRODUCED.get()


def completed(declared: Metadata | None, own: Metadata | None) -> Metadata | None:
    """What is said of an output by who calls its task, and where that says nothing by the task."""
    if declared is None or own is None:
        return declared or own
    fields = ("description", "attrs", "card", "kind")
    rest = {name: getattr(own, name) for name in fields if getattr(declared, name) is None}
    return replace(declared, **rest)


def said_of(value: object) -> Metadata | None:
    """What :func:`new` was told of a value; None: it is no artifact."""
    found = getattr(value, "__dict__", {}).get(_SAID)
    return found if isinstance(found, Metadata) else None


def kept_as(value: T, version: str) -> T:
    """A file, folder or table that knows which version of an artifact it is."""
    made = copy.copy(value)
    object.__setattr__(made, _VERSION, version)
    return made


def versions_in(values: Iterable[object]) -> tuple[str, ...]:
    """The versions of the artifacts among some values, or in lists, tuples and dicts among them, each once."""
    found = []
    for value in values:
        if isinstance(value, (File, Dir, DataFrame)):
            found.append(vars(value).get(_VERSION))
        elif isinstance(value, (list, tuple)):
            found.extend(versions_in(value))
        elif isinstance(value, dict):
            found.extend(versions_in(value.values()))
    return tuple(dict.fromkeys(version for version in found if version is not None))


def _one_of(what: str, given: object, known: tuple[str, ...]) -> None:
    if given not in known:
        raise ValueError(f"{what} must be one of {', '.join(known)}, got {given!r}.")
