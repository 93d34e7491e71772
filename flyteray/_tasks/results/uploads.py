"""Uploads are what an attempt puts into storage: the next attempt has new paths for what is the same content."""

from __future__ import annotations

from typing import Any

from flyteray.errors import BaseRuntimeError
from flyteray.io import Dir
from flyteray.io.location import Location
from flyteray.storage import locate_file, open_storage
from flyteray.storage.address import directory_hash, file_hash


class Uploads:
    """The files and folders that one action puts into a folder of its own, at ``root``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, tuple[object, str]] = {}

    def named(self, place: Location[Any]) -> str:
        """A name for what is at a place: of content and last word of the path for an upload, else hash or path."""
        if place.hash is not None or not place.path.startswith(f"{self._root}/"):
            return place.hash or place.path
        try:
            return f"{place.name}: {self._content(place)}"
        except (OSError, ValueError, BaseRuntimeError):  # not written yet, or gone
            return place.path

    def _content(self, place: Location[Any]) -> str:
        is_folder = isinstance(place, Dir)
        if is_folder:
            state: object = open_storage(place.path).states()
        else:
            storage, key = locate_file(place.path)
            state = storage.state(key)
        known, content = self._known.get(place.path, (None, ""))
        if known != state:
            content = directory_hash(place.path) if is_folder else file_hash(place.path)
            self._known[place.path] = state, content
        return content
