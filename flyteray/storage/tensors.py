"""The memory of tensors is pickled beside the pickle, and they are made anew around it where they arrive.

All else of a tensor or module of PyTorch (its shape, what it shares memory with, its class) is pickled as it says
itself. Nothing here imports torch: whoever has a tensor has it.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

from flyteray.storage import copy_on_write


class Storages:
    """The storages that one pickler has met: those of one memory are pickled once, and share it where they arrive."""

    def __init__(self) -> None:
        self._met: dict[int, Any] = {}

    def reduced(self, value: Any) -> tuple[Any, ...] | None:
        """How a storage is made anew; None: it is none, or lies on a device, and says itself how."""
        if not is_memory(value):
            return None
        untyped = _without_type(value)
        if untyped is value:
            return _untyped, (pickle.PickleBuffer(content(value)),)
        return _typed, (self._met.setdefault(untyped._cdata, untyped), value.dtype)


def is_memory(value: Any) -> bool:
    """Whether a value is a storage of PyTorch in main memory, which is what tensors are views of."""
    kind = type(value)
    if kind.__module__ != "torch.storage" or kind.__name__ not in ("TypedStorage", "UntypedStorage"):
        return False
    return bool(_without_type(value).device.type == "cpu")


def content(storage: Any) -> Any:
    """The bytes of a storage in main memory, as an array that shares them."""
    torch: Any = sys.modules["torch"]
    return torch.empty(0, dtype=torch.uint8).set_(_without_type(storage)).numpy()


def are_there() -> bool:
    """Whether there may be tensors in this process."""
    return "torch" in sys.modules


def _without_type(storage: Any) -> Any:
    return getattr(storage, "_untyped_storage", storage)  # asking a typed one for anything else warns


def _untyped(buffer: Any) -> Any:
    import torch  # deferred: whoever reads a tensor needs it

    view = copy_on_write.writable(buffer)
    if view.nbytes == 0:
        return torch.UntypedStorage(0)
    return torch.frombuffer(view, dtype=torch.uint8).untyped_storage()


def _typed(untyped: Any, dtype: Any) -> Any:
    import torch  # deferred: as above

    return torch.storage.TypedStorage(wrap_storage=untyped, dtype=dtype, _internal=True)
