"""A location is the path of a file or folder that means the same on every node."""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flyteray._declare.context import RAW_DATA_PATH, ctx
from flyteray._declare.this_cluster import this_process
from flyteray._handles import Awaited
from flyteray.io.as_model import AsModel
from flyteray.storage import Storage, local, open_storage

T = TypeVar("T")


@dataclass(frozen=True, init=False)
class Location(AsModel, Awaited, Generic[T]):
    """A path or URL and what is known of it. It may be awaited, which gives itself.

    Args:
        path: A local path or a URL.
        name: The last part of the path unless given.
        format: What is in it, such as ``"csv"``; free text.
        hash: Identifies the content, for caching; None: unknown.

    Further keywords are ignored, as in Flyte. May be a field of a pydantic model.
    """

    path: str
    name: str
    format: str
    hash: str | None

    def __init__(
        self, *, path: str, name: str | None = None, format: str = "", hash: str | None = None, **_: object
    ) -> None:
        set_field = object.__setattr__  # frozen
        set_field(self, "path", str(path))
        set_field(self, "name", name or str(path).rstrip("/").rpartition("/")[2])
        set_field(self, "format", format)
        set_field(self, "hash", hash)

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        """A value's form in JSON, in the words of JSON Schema."""
        texts = {name: {"type": "string"} for name in ("path", "name", "format", "hash")}
        return {"type": "object", "title": cls.__name__, "properties": texts, "required": ["path"]}

    if not TYPE_CHECKING:

        def __class_getitem__(cls, _: object) -> type:
            # File[str] is File itself: pydantic would take an alias of a dataclass apart by itself.
            return cls

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema as schema  # whoever asks has loaded it; we don't

        text = schema.str_schema()
        fields = schema.typed_dict_schema(
            {
                "path": schema.typed_dict_field(text),
                "name": schema.typed_dict_field(schema.nullable_schema(text), required=False),
                "format": schema.typed_dict_field(text, required=False),
                "hash": schema.typed_dict_field(schema.nullable_schema(text), required=False),
            }
        )
        return cls._core_schema(fields)


def upload_root() -> Storage:
    """Where new files go: to the data of the task or app that runs here, else to ``files`` in the storage root."""
    if given := ctx().raw_data_path or os.environ.get(RAW_DATA_PATH):
        return open_storage(given)
    root = this_process().cluster.storage()
    if "://" not in root:
        local.rooms(Path(root), "files")
    return open_storage(open_storage(root).join("files"))


def unique_url(name: str | None) -> str:
    """A URL that nothing else uses, ending in ``name``."""
    root, folder = upload_root(), uuid.uuid4().hex[:16]
    return root.join(folder, name) if name else root.join(folder)


def keeps_local_paths() -> bool:
    """Whether local paths are good everywhere: tasks run in this very process."""
    return ctx().mode == "local"


def temporary_path(name: str) -> Path:
    """A path of that name in a new folder, for a download without a target."""
    return Path(tempfile.mkdtemp(prefix="flyteray-")) / name
