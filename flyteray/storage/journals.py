"""Journals keep many small values of many processes: each appends to a file of its own, and all are read as one.

A record is a header, its key, and a value as :mod:`flyteray.storage.values` lays it out:

    header    magic, size of the key, size of the value, checksum of both, when it was written
"""

from __future__ import annotations

import os
import struct
import threading
import time
import zlib
from typing import NamedTuple

from flyteray.storage.storage import Storage

_MAGIC = b"fr1\n"
_HEADER = struct.Struct("<4sIIId")


class JournalWriter:
    """The journals that this process writes, one in each folder."""

    def __init__(self) -> None:
        self._one_by_one = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._name = os.urandom(8).hex()

    def append(self, storage: Storage, folder: str, key: str, value: bytes | memoryview) -> bool:
        """Keep a value under a key in the journals of a folder; False where storage can't append, and nothing is kept.

        Raises:
            StorageError: storage refused. What it took of the record hides no later one.
        """
        named = key.encode()
        checksum = zlib.crc32(value, zlib.crc32(named))
        header = _HEADER.pack(_MAGIC, len(named), len(value), checksum, time.time())
        with self._one_by_one:
            try:
                return storage.append(f"{folder}/{self._name}", b"".join((header, named, value)))
            except BaseException:
                self._begin()  # a journal is read up to its first torn record
                raise


class _Place(NamedTuple):
    journal: str
    offset: int
    size: int
    written: float


class Journals:
    """The values that the journals of a folder have; of those of one key, the latest."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = folder
        self._places: dict[str, _Place] = {}
        self._read: dict[str, int] = {}  # how far
        self._one_by_one = threading.Lock()

    def find(self, key: str) -> bytes | None:
        """The value of a key as it was written, by now; None where there is none."""
        with self._one_by_one:
            if key not in self._places:
                self._look()
            place = self._places.get(key)
        if place is None:
            return None
        with self._storage.reader(place.journal) as file:
            file.seek(place.offset)
            return file.read(place.size)

    def _look(self) -> None:
        """Take in what was written since the last look."""
        for journal, state in self._storage.states(self._folder).items():
            read = self._read.get(journal, 0)
            if state.size > read:
                with self._storage.reader(journal) as file:
                    file.seek(read)
                    self._read[journal] = read + self._index(journal, read, file.read())

    def _index(self, journal: str, start: int, data: bytes) -> int:
        """Take in the records of a part of a journal; how many of its bytes are whole records."""
        view, at = memoryview(data), 0
        while len(view) - at >= _HEADER.size:
            magic, key_size, size, checksum, written = _HEADER.unpack_from(view, at)
            offset = at + _HEADER.size + key_size
            record = view[at + _HEADER.size : offset + size]
            if magic != _MAGIC or len(record) < key_size + size or zlib.crc32(record) != checksum:
                break
            key = str(record[:key_size], "utf-8")
            known = self._places.get(key)
            if known is None or known.written <= written:
                self._places[key] = _Place(journal, start + offset, size, written)
            at = offset + size
        return at
