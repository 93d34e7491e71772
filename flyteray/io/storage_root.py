"""Where files go that neither a task nor an app makes: the storage of the cluster, once this process knows of one."""

from __future__ import annotations

import functools
from collections.abc import Callable

from flyteray._settings import Settings


class StorageRoot:
    """The storage that every node reads, for those who have only a file to put there."""

    def __init__(self) -> None:
        self._ask: Callable[[], str] = lambda: Settings.load().storage

    def ask(self, where: Callable[[], str]) -> None:
        """Ask ``where`` from now on."""
        self._ask = where

    def url(self) -> str:
        """Its URL or path."""
        return self._ask()


@functools.cache
def storage_root() -> StorageRoot:
    """That of this process."""
    return StorageRoot()
