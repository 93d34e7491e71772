"""The children of a local run that have succeeded: a caller that is tried again is given what they returned."""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

from flyteray.errors import ResultSerializationError
from flyteray.storage import Storage, open_storage
from flyteray.storage.values import read_value, write_value

logger = logging.getLogger(__name__)


class LocalReplays:
    """What children have returned, in the folder of their run: as values, which nobody can have changed since."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: set[str] = set()  # in this run: another one may have had the folder before

    @functools.cached_property
    def _storage(self) -> Storage:
        return open_storage(self._folder)

    def find(self, action: str) -> tuple[Any] | None:
        """The value that an action has returned before, in a tuple; None where it has not."""
        return (read_value(self._storage, _key(action)),) if action in self._done else None

    def keep(self, action: str, task: str, value: Any) -> None:
        """Keep the value that an action has returned; one that can't be pickled is not kept, and a warning says so."""
        try:
            write_value(self._storage, _key(action), value, "output")
        except ResultSerializationError as problem:
            logger.warning("Task %r will be run again where its caller is: %s", task, problem)
        else:
            self._done.add(action)


def _key(action: str) -> str:
    return f"{action}/returned"
