"""Inputs of a run on their way: small ones with the request, large ones through storage, where they are nobody's.

In Ray a value dies with the process that owns it, and a run must outlive the one that asked for it. Sent from process
to process, its inputs would be copied by each; in storage they are written once, and mapped by the worker.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flyteray._plan.values.pickling import Payload, dump
from flyteray.storage import open_storage
from flyteray.storage.values import read_value, write_pickled

RELAYED = 2**20  # bytes that are sent from process to process: copying them costs less than a file


def inputs_key(request: str) -> str:
    """Where in storage the large inputs of a run are until it has ended."""
    return f"inputs/{request}"


def store(payload: Payload, root: str, key: str) -> Payload:
    """Put a pickled value into the storage at ``root``; what is returned loads as the same value, anywhere."""
    write_pickled(open_storage(root), key, payload.header, payload.buffers)
    return dump(_Stored(root, key))


class _Stored:
    """Pickled it is a place in storage; unpickled it is the value there."""

    def __init__(self, root: str, key: str) -> None:
        self._place = root, key

    def __reduce__(self) -> tuple[Any, ...]:
        return _read, self._place


def _read(root: str, key: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="flyteray-") as copies:  # a mapped file may go
        return read_value(open_storage(root), key, Path(copies))
