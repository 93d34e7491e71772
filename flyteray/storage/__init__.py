"""Storage keeps bytes in a local folder or an object store, behind one class; Flyte's functions of it are here too."""

from __future__ import annotations

import importlib
import typing
from typing import TYPE_CHECKING

from flyteray import _public
from flyteray.storage.address import locate_file, open_storage
from flyteray.storage.storage import State, Storage

if TYPE_CHECKING:
    from flyteray.io.transfers import exists as exists
    from flyteray.io.transfers import exists_sync as exists_sync
    from flyteray.io.transfers import get as get
    from flyteray.io.transfers import get_stream as get_stream
    from flyteray.io.transfers import is_remote as is_remote
    from flyteray.io.transfers import join as join
    from flyteray.io.transfers import open as open
    from flyteray.io.transfers import put as put
    from flyteray.io.transfers import put_stream as put_stream

__all__ = ["State", "Storage", "locate_file", "open_storage"]

_public.adopt(__name__, globals())

_OF_FILES = ("exists", "exists_sync", "get", "get_stream", "is_remote", "join", "open", "put", "put_stream")
_VARIABLES = (
    "name the storage, as in flyteray.init(storage='s3://bucket/prefix'); who may use it is told by "
    "environment variables (AWS_ACCESS_KEY_ID and such), see flyteray.storage.open_storage."
)
_INSTEAD = {"ABFS": _VARIABLES, "GCS": _VARIABLES, "S3": _VARIABLES}

if not TYPE_CHECKING:  # a type checker sees the imports above

    def __getattr__(name: str) -> typing.Any:
        if name in _OF_FILES:  # files are made of storage, so they come later
            return getattr(importlib.import_module("flyteray.io.transfers"), name)
        return _public.absent(__name__, name, _INSTEAD)
