"""Where bytes are kept: a local folder or an object store, behind one class."""

from flyteray.storage.storage import State, Storage

__all__ = ["State", "Storage"]
