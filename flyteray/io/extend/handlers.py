"""Handlers write frames of a user's own class to storage, and read them again: encoders and decoders.

What they are given has the attributes of Flyte's messages: ``uri``, and ``metadata.structured_dataset_type`` with
``format`` and ``columns``. It is such a message where the package ``flyteidl2`` is loaded.
"""

from __future__ import annotations

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flyteray.io.frames import FORMATS, PARQUET, library

if TYPE_CHECKING:
    from flyteray.io.dataframe import DataFrame

T = TypeVar("T")
H = TypeVar("H")

_ANY = ""  # of formats, and of protocols


@dataclass
class Column:
    """A column of a frame: its name, and the type that was declared for it."""

    name: str
    literal_type: Any = None


@dataclass
class FrameType:
    """The columns that were declared of a frame, and the format that it is stored in."""

    columns: list[Column] = field(default_factory=list)
    format: str = ""


@dataclass
class FrameMetadata:
    """What is known of a frame without reading it."""

    structured_dataset_type: FrameType = field(default_factory=FrameType)


@dataclass
class StoredFrame:
    """A frame in storage."""

    uri: str
    metadata: FrameMetadata


class DataFrameEncoder(ABC, Generic[T]):
    """An encoder writes frames of one class.

    Args:
        python_type: The class.
        protocol: The kind of storage, such as ``"s3"`` or ``"file"``; None: each.
        supported_format: A word for how they are written; None: whatever is asked for.
    """

    def __init__(
        self, python_type: type[T], protocol: str | None = None, supported_format: str | None = None
    ) -> None:
        self._python_type = python_type
        self._protocol = protocol.replace("://", "") if protocol else None
        self._supported_format = supported_format or _ANY

    @property
    def python_type(self) -> type[T]:
        """The class of the frames."""
        return self._python_type

    @property
    def protocol(self) -> str | None:
        """The kind of storage; None: each."""
        return self._protocol

    @property
    def supported_format(self) -> str:
        """The word for how they are written; empty: any."""
        return self._supported_format

    @abstractmethod
    async def encode(self, dataframe: DataFrame, structured_dataset_type: Any) -> Any:
        """Write a frame.

        Args:
            dataframe: The frame is its ``val``, and ``uri`` is where it goes.
            structured_dataset_type: The columns and the format that are asked for.

        Returns:
            An object whose ``uri`` says where it is: a message of Flyte, or a :class:`DataFrame`.
        """


class DataFrameDecoder(ABC, Generic[T]):
    """A decoder reads frames of one class; its arguments are those of :class:`DataFrameEncoder`."""

    def __init__(
        self,
        python_type: type[T],
        protocol: str | None = None,
        supported_format: str | None = None,
        additional_protocols: list[str] | None = None,
    ) -> None:
        self._python_type = python_type
        self._protocol = protocol.replace("://", "") if protocol else None
        self._supported_format = supported_format or _ANY
        self._additional = [each.replace("://", "") for each in additional_protocols or ()]

    @property
    def python_type(self) -> type[T]:
        """The class of the frames."""
        return self._python_type

    @property
    def protocol(self) -> str | None:
        """The kind of storage; None: each."""
        return self._protocol

    @property
    def supported_format(self) -> str:
        """The word for how they were written; empty: any."""
        return self._supported_format

    @abstractmethod
    async def decode(self, flyte_value: Any, current_task_metadata: Any) -> T | AsyncIterator[T]:
        """Read a frame, as a whole or in pieces.

        Args:
            flyte_value: Its ``uri`` says where it is.
            current_task_metadata: The columns that the reader wants, in ``structured_dataset_type``.
        """


class Handlers:
    """The encoders and decoders that users have registered in this process."""

    def __init__(self) -> None:
        self._encoders: dict[tuple[type, str, str], DataFrameEncoder[Any]] = {}
        self._decoders: dict[tuple[type, str, str], DataFrameDecoder[Any]] = {}
        self.formats: dict[type, str] = {}  # of classes, where they were said to be the default
        self.changes = 0

    def register(self, handler: DataFrameEncoder[Any] | DataFrameDecoder[Any], override: bool) -> None:
        """Take in a handler; ValueError where there is one for the same and ``override`` is not given."""
        if isinstance(handler, DataFrameEncoder):
            known: dict[Any, Any] = self._encoders
            protocols = [handler.protocol]
        elif isinstance(handler, DataFrameDecoder):
            known, protocols = self._decoders, [handler.protocol, *handler._additional]
        else:
            raise TypeError(
                f"{handler!r} is no handler of frames: register a DataFrameEncoder or a DataFrameDecoder."
            )
        keys = [(handler.python_type, each or _ANY, handler.supported_format) for each in protocols]
        for key in keys:
            if key in known and not override:
                raise DuplicateHandlerError(
                    f"{type(known[key]).__name__} is registered for {key[0].__name__}, protocol {key[1] or 'any'}, "
                    f"format {key[2] or 'any'}: give override=True to have {type(handler).__name__} instead."
                )
        known.update(dict.fromkeys(keys, handler))
        self.changes += 1

    def encoder(self, kind: type, url: str, format: str) -> DataFrameEncoder[Any] | None:
        """The encoder for a class, a place and a format; None: there is none."""
        return _best(self._encoders, kind, url, format)

    def decoder(self, kind: type, url: str, format: str) -> DataFrameDecoder[Any] | None:
        """The decoder for a class, a place and a format; None: there is none."""
        return _best(self._decoders, kind, url, format)

    def format(self, kind: type) -> str:
        """The format that frames of a class are written in, where nobody asks for another one."""
        if kind in self.formats:
            return self.formats[kind]
        own = [format for known, _, format in self._encoders if known is kind]
        return own[0] if own and library(kind) is None else PARQUET

    def handles(self, kind: type) -> bool:
        """Whether frames of a class go through storage wherever they are given: nobody else knows the class."""
        return kind in self.formats or (
            library(kind) is None and any(known is kind for known, _, _ in (*self._encoders, *self._decoders))
        )


def _best(known: dict[tuple[type, str, str], H], kind: type, url: str, format: str) -> H | None:
    scheme, mark, _ = url.partition("://")
    protocol = scheme if mark else "file"
    for wanted in ((protocol, format), (_ANY, format), (protocol, _ANY), (_ANY, _ANY)):
        if (kind, *wanted) in known:
            return known[(kind, *wanted)]
    return None


@functools.cache
def handlers() -> Handlers:
    """The handlers of this process."""
    return Handlers()


class DuplicateHandlerError(ValueError):
    """A handler is registered for the same frames already."""


class DataFrameTransformerEngine:
    """The registry of encoders and decoders."""

    @classmethod
    def register(
        cls,
        h: DataFrameEncoder[Any] | DataFrameDecoder[Any],
        default_for_type: bool = False,
        override: bool = False,
        default_format_for_type: bool = False,
        default_storage_for_type: bool = False,
    ) -> None:
        """Have a handler used from now on.

        Args:
            h: An encoder or decoder.
            default_for_type, default_format_for_type: Write frames of its class in its format wherever tasks give
                them; without it those of pandas, pyarrow and polars stay in memory.
            override: Take the place of a handler for the same.
            default_storage_for_type: Means nothing here: what is written goes to the data of the task.

        Raises:
            DuplicateHandlerError: there is one for the same.
            ValueError: the default for a class is to be a handler without a format.
        """
        default = default_for_type or default_format_for_type
        if default and not getattr(h, "supported_format", _ANY):
            raise ValueError(
                f"{type(h).__name__} has no format that could be the default: give supported_format."
            )
        handlers().register(h, override)
        if default:
            handlers().formats[h.python_type] = h.supported_format

    @classmethod
    def get_encoder(cls, df_type: type, protocol: str, format: str) -> DataFrameEncoder[Any]:
        """The encoder for a class; ValueError: none is registered."""
        return _known(handlers().encoder(df_type, f"{protocol}://", format), df_type, protocol, format)

    @classmethod
    def get_decoder(cls, df_type: type, protocol: str, format: str) -> DataFrameDecoder[Any]:
        """The decoder for a class; ValueError: none is registered."""
        return _known(handlers().decoder(df_type, f"{protocol}://", format), df_type, protocol, format)


def _known(found: T | None, kind: type, protocol: str, format: str) -> T:
    if found is None:
        built_in = (
            f" pandas, pyarrow and polars need none for {' and '.join(FORMATS)}." if library(kind) else ""
        )
        raise ValueError(
            f"No handler is registered for {kind.__name__}, protocol {protocol!r}, format {format!r}.{built_in}"
        )
    return found


def message_of_type(columns: Mapping[str, Any], format: str) -> Any:
    """The columns and the format for a handler."""
    if (idl := sys.modules.get("flyteidl2.core.types_pb2")) is not None:
        made = idl.StructuredDatasetType(format=format)
        for name in columns:
            made.columns.add(name=name)
        return made
    return FrameType([Column(name, kind) for name, kind in columns.items()], format)


def message_of_metadata(columns: Mapping[str, Any], format: str) -> Any:
    """The metadata of a frame for a handler."""
    made = message_of_type(columns, format)
    if (idl := sys.modules.get("flyteidl2.core.literals_pb2")) is not None and not isinstance(
        made, FrameType
    ):
        return idl.StructuredDatasetMetadata(structured_dataset_type=made)
    return FrameMetadata(made)


def message_of_frame(url: str, columns: Mapping[str, Any], format: str) -> Any:
    """A frame in storage for a handler."""
    metadata = message_of_metadata(columns, format)
    if isinstance(metadata, FrameMetadata):
        return StoredFrame(url, metadata)
    return sys.modules["flyteidl2.core.literals_pb2"].StructuredDataset(uri=url, metadata=metadata)
