"""A table that tasks pass on, in memory or by where it is, and read as the frame of any library."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from flyteray._handles import Awaited
from flyteray._machine.threads import finished
from flyteray.io import frames
from flyteray.io.as_model import AsModel
from flyteray.io.dir import Dir
from flyteray.io.extend.handlers import handlers, message_of_metadata, message_of_type
from flyteray.io.file import File
from flyteray.io.hashing import HashMethod
from flyteray.io.location import Location, unique_url
from flyteray.io.table import Opened, Pieces, TableContent, check_format, format_of

if TYPE_CHECKING:
    from typing_extensions import Self

F = TypeVar("F")


@dataclass(init=False, eq=False)
class DataFrame(AsModel, Awaited):
    """A table that is given to tasks and by them: one that it holds, or one that lies in storage.

    :meth:`wrap_df` makes it of a frame of pandas, pyarrow or polars, which then goes from task to task in the cluster's
    memory. :meth:`from_local` writes a frame to storage, and :meth:`from_existing_remote` tells of one that is there:
    nothing is read until somebody asks. ``await df.open(pandas.DataFrame).all()`` is the frame, ``df.open(...).iter()``
    goes through it by pieces. May be a field of a dataclass or of a pydantic model. It may be awaited, which gives
    itself.

    Args:
        uri: The path or URL of a file, or of a folder of files; None: it is in memory only.
        format: How it is written: ``"parquet"``, ``"csv"``, or a word of your own handlers; empty: as its name ends.
        hash: Identifies the content, for caching; None: the content does.
    """

    uri: str | None
    format: str
    hash: str | None

    def __init__(
        self, *, uri: str | None = None, format: str | None = None, hash: str | None = None, **_: object
    ) -> None:
        self.uri = None if uri is None else str(uri)
        self.format = format or ""
        self.hash = hash
        self._frame: Any = None
        self._columns: Mapping[str, Any] = {}  # that were declared
        self._selected: tuple[str, ...] | None = None
        self._kind: type | None = None

    @classmethod
    def wrap_df(cls, val: Any = None, uri: str | None = None) -> DataFrame:
        """A table of a frame, which is passed on in memory.

        Args:
            val: The frame.
            uri: Write it there as well, at once; the table is passed on by its place then.

        Raises:
            TypeError: it is no frame of pandas, pyarrow or polars, nor of a class that you have an encoder for.
        """
        if val is None and uri is not None:
            return cls(uri=uri)
        if isinstance(val, DataFrame):
            return val
        kind = type(val)
        if frames.library(kind) is None and not handlers().handles(kind):
            raise TypeError(
                f"A {kind.__name__} is no frame: give one of pandas, pyarrow or polars, or register an encoder for "
                "its class (flyte.io.extend)."
            )
        made = cls()
        made._frame = val
        return made if uri is None else made.stored(uri)

    @classmethod
    def from_df(cls, val: Any = None, uri: str | None = None) -> DataFrame:
        """Like :meth:`wrap_df`, whose older name it is."""
        return cls.wrap_df(val, uri)

    @classmethod
    def from_local_sync(
        cls,
        df: Any,
        columns: Mapping[str, Any] | None = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> DataFrame:
        """Write a frame to storage, where every node can read it: as Parquet, or CSV where the destination says so.

        Args:
            df: The frame.
            columns: The types of its columns by name, which :attr:`metadata` tells.
            remote_destination: Where to write it; a new file in storage by default.
            hash_method: A text that identifies the content, for caching, or what works one out of the frame.

        Returns:
            The table, which is passed on by its place.

        Raises:
            TypeError: as of :meth:`wrap_df`.
            ValueError: it has not all of the columns.
        """
        made = copy.copy(cls.wrap_df(df))
        if columns is not None:
            frames.check_columns(list(columns), frames.column_names(made._frame))
            made._columns = dict(columns)
        made.hash = hashed(made._frame, hash_method)
        made.format = ""
        return made.stored(remote_destination)

    @classmethod
    async def from_local(
        cls,
        df: Any,
        columns: Mapping[str, Any] | None = None,
        remote_destination: str | None = None,
        hash_method: HashMethod | str | None = None,
    ) -> DataFrame:
        """Like :meth:`from_local_sync`."""
        return await asyncio.to_thread(cls.from_local_sync, df, columns, remote_destination, hash_method)

    @classmethod
    def from_existing_remote(cls, remote_path: str, format: str | None = None, **more: Any) -> DataFrame:
        """A table that is in storage already; nothing is read.

        Args:
            remote_path: The path or URL of a file, or of a folder of files.
            format: How it is written; by default as its name ends, or else ``"parquet"``.
            more: ``hash``: identifies the content, for caching.
        """
        return cls(uri=remote_path, format=format, **more)

    @property
    def val(self) -> Any:
        """The frame, where the table holds one; None where it is in storage."""
        return self._frame

    @property
    def metadata(self) -> Any:
        """The columns that were declared, and the format: ``metadata.structured_dataset_type``, as Flyte has it."""
        return message_of_metadata(self._columns, self.format)

    def open(self, dataframe_type: type[F]) -> Opened[F]:
        """Say as what it is to be read, such as ``pandas.DataFrame``; then ask for :meth:`all` or :meth:`iter`."""
        self._kind = dataframe_type
        opened: Opened[F] = Opened(self._content, dataframe_type)
        return opened

    def all_sync(self) -> Any:
        """The whole table, as the frame that :meth:`open` said.

        Raises:
            ValueError: nothing was opened, the table is none, or it has not the columns that were declared.
            FileNotFoundError: it is not where it is said to be.
        """
        return Opened(self._content, self._opened_as()).all_sync()

    async def all(self) -> Any:
        """Like :meth:`all_sync`."""
        return await asyncio.to_thread(self.all_sync)

    def iter(self) -> Pieces[Any]:
        """The table by pieces of at most 65,536 rows, for ``for`` or ``async for``; errors as of :meth:`all_sync`."""
        return Opened(self._content, self._opened_as()).iter()

    def location(self) -> Location[Any] | None:
        """The file or folder that the table lies in; None where it is in memory."""
        if self.uri is None:
            return None
        found: Dir[Any] = Dir(path=self.uri)
        return found if self.hash is None and found.exists_sync() else File(path=self.uri, hash=self.hash)

    def stored(self, uri: str | None = None, format: str = "") -> DataFrame:
        """The table in storage: itself where it is there in that format, else a copy that was written there now."""
        if self._frame is None and (format or self.format) == self.format and uri is None:
            return self
        if self._frame is None:
            raise ValueError(f"{self!r} lies in storage already: open it, and wrap the frame that you read.")
        kind = type(self._frame)
        written = format or self.format or format_of(uri or "") or handlers().format(kind)
        target = uri or unique_url(f"data.{written}")
        made = DataFrame(uri=target, format=written, hash=self.hash)
        made._columns, made._selected = self._columns, self._selected
        encoder = handlers().encoder(kind, target, written)
        if encoder is not None:
            asked = copy.copy(self)
            asked.uri = target
            stored = finished(encoder.encode(asked, message_of_type(self._columns, written)))
            made.uri = str(stored.uri)
        else:
            check_format(written)
            frames.write(self._frame, target, written)
        return made

    def declared(self, columns: Mapping[str, Any] | None, hash_method: HashMethod | None) -> DataFrame:
        """The table as an annotation wants it: of some columns only, and with a hash of its content.

        ValueError: it holds a frame without one of the columns.
        """
        if columns is None and hash_method is None:
            return self
        made = copy.copy(self)
        if columns is not None:
            made._columns, made._selected = dict(columns), tuple(columns)
            if self._frame is not None:
                frames.check_columns(made._selected, frames.column_names(self._frame))
        if hash_method is not None and self._frame is not None:
            made.hash = hashed(self._frame, hash_method)
        return made

    def read(self, kind: type) -> Any:
        """The whole table as a frame of a class; errors as of :meth:`all_sync`."""
        return self._content().read(kind)

    def pieces(self, kind: type) -> Iterator[Any]:
        """The frames of a class that :meth:`read` puts together."""
        return self._content().pieces(kind)

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other fields, which holds the same frame."""
        made = copy.copy(self)
        for name, value in (update or {}).items():
            setattr(made, name, value)
        return made

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """A value's form in JSON, in the words of JSON Schema."""
        texts = {name: {"type": "string"} for name in ("uri", "format", "hash")}
        return {"type": "object", "title": cls.__name__, "properties": texts, "required": ["uri"]}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema as schema  # whoever asks has loaded it; we don't

        text = schema.nullable_schema(schema.str_schema())
        names = ("uri", "format", "hash")
        fields = schema.typed_dict_schema(
            {each: schema.typed_dict_field(text, required=False) for each in names}
        )

        def wrapped(value: Any) -> DataFrame:
            try:
                return cls.wrap_df(value)
            except TypeError as error:
                raise ValueError(str(error)) from error

        return cls._core_schema(fields, schema.no_info_plain_validator_function(wrapped))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataFrame):
            return NotImplemented
        return asdict(self) == asdict(other) and self._frame is other._frame

    __hash__ = None  # type: ignore[assignment] # it may be changed

    def _opened_as(self) -> type:
        if self._kind is None:
            raise ValueError(
                "Nothing says as what this DataFrame is to be read: write df.open(pandas.DataFrame).all()."
            )
        return self._kind

    def _content(self) -> TableContent:
        return TableContent(self._frame, self.uri, self.format, self._columns, self._selected)


def hashed(frame: Any, method: HashMethod | str | None) -> str | None:
    """The text that identifies a frame's content: the given one, or the one that ``method`` makes of it."""
    if method is None or isinstance(method, str):
        return method
    method.update(frame)
    return method.result()
