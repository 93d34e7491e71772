"""Storage keeps bytes in a local folder or an object store, behind one class."""

from flyteray import _public
from flyteray.storage.address import locate_file, open_storage
from flyteray.storage.storage import State, Storage

__all__ = ["State", "Storage", "locate_file", "open_storage"]

_public.adopt(__name__, globals())
