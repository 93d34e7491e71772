"""The outputs that the actions of a run have left in storage: small ones in journals, others in files of their own."""

from __future__ import annotations

import functools
from typing import Any

from flyteray._plan.actions.names import ROOT
from flyteray._plan.values.outputs import output_key
from flyteray.storage import Storage, open_storage
from flyteray.storage.journals import Journals, JournalWriter
from flyteray.storage.values import read_value, value_of, write_value


class KeptOutputs:
    """The outputs of one run in the storage at ``root``."""

    def __init__(self, root: str, run: str) -> None:
        self._root = root
        self._run = run
        self._folder = f"runs/{run}/journals"

    @functools.cached_property
    def _storage(self) -> Storage:
        return open_storage(self._root)

    @functools.cached_property
    def _journals(self) -> Journals:
        return Journals(self._storage, self._folder)

    def write(self, action: str, outputs: tuple[Any, ...], alone: bool = False) -> int:
        """Write the outputs of an action; those of the run, and such as are to be ``alone``, have a file of their own.

        Returns:
            The size in bytes.

        Raises:
            ResultSerializationError: they can't be pickled.
            StorageError: storage refused.
        """
        key, storage = output_key(self._run, action), self._storage

        def put(value: bytes | memoryview) -> None:
            if not _writer().append(storage, self._folder, action, value):
                storage.put(key, value)

        return write_value(storage, key, outputs, "output", None if alone or action == ROOT else put)

    def read(self, action: str) -> tuple[Any, ...]:
        """The outputs of an action; FileNotFoundError where there are none. Errors as of ``read_value``."""
        if action != ROOT and (data := self._journals.find(action)) is not None:
            return tuple(value_of(data, f"{self._storage.join(self._folder)}, {action}"))
        return tuple(read_value(self._storage, output_key(self._run, action)))

    def have(self, action: str) -> bool:
        """Whether there are outputs of an action."""
        return self._storage.exists(output_key(self._run, action)) or self._journals.find(action) is not None


@functools.cache
def _writer() -> JournalWriter:
    return JournalWriter()
