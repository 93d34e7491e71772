"""The results of tasks are kept in the storage, found again by their calls, listed and deleted."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

from flyteray._declare.tasks.task import Task
from flyteray._plan.cache.classes import changed, shapes
from flyteray._plan.cache.entry import FOLDER, Entry, entry_key, folder
from flyteray._plan.spec import CachedCall
from flyteray._plan.values.carried import Carried
from flyteray.errors import BaseRuntimeError, ResultSerializationError
from flyteray.io import DataFrame, Dir, File
from flyteray.io.location import Location
from flyteray.storage import Storage, locate_file, open_storage
from flyteray.storage.local import rooms
from flyteray.storage.values import read_value, write_value

_KEY = 32  # characters of a call's key
_PLAIN = (int, float, str, bytes, bool, type(None))

logger = logging.getLogger(__name__)


class Found(NamedTuple):
    """The outputs of a call that is not made, and where they come from."""

    outputs: tuple[Any, ...]
    entry: Entry


class ResultCache:
    """The results that are kept in a storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, call: CachedCall) -> Found | None:
        """The outputs that a call would have; None where it has to be made. Large arrays are mapped, not read."""
        entry = self.look(call)
        if entry is None:
            return None
        try:
            return Found(tuple(read_value(self._storage, entry.outputs)), entry)
        except FileNotFoundError:
            return None  # deleted just now
        except Exception as error:  # noqa: BLE001  # users' classes may do anything when they are loaded
            _anew(entry, f"it can't be read any more ({type(error).__name__}: {error})")
            return None

    def look(self, call: CachedCall, classes: bool = True) -> Entry | None:
        """The entry of the result that a call would have; None where it has to be made.

        Without ``classes`` nobody looks whether those of its values have changed: for a process without users' code.
        """
        if not call.read:
            return None
        try:
            entry = self._read(entry_key(call, call.own))
            if entry is None or self._is_too_old(entry, call.max_age_s):
                return None
            if (place := self._missing(entry.places)) is not None:
                _anew(entry, f"{place} is not there any more")
                return None
        except (OSError, BaseRuntimeError) as error:
            logger.warning("Task %r is run, as its result can't be looked for: %s", call.task, error)
            return None
        if classes and (problem := changed(entry.classes)) is not None:
            _anew(entry, problem)
            return None
        return entry

    def keep(
        self,
        call: CachedCall,
        task: Task[..., Any],
        outputs: tuple[Any, ...],
        run: str,
        action: str,
        written: str | None = None,
    ) -> None:
        """Keep the outputs of a call that an action has made; ``written`` is where in storage they are already.

        ResultSerializationError where they can't be pickled. A storage that can't be written is a warning: the call
        has succeeded.
        """
        interface = task.interface
        entry = Entry(
            task=call.task,
            key=call.key,
            run=run,
            action=action,
            made_at=datetime.now(timezone.utc),
            nbytes=0,
            classes=shapes([*interface.outputs.values(), *map(type, outputs)]),
            places=tuple(dict.fromkeys(_places(outputs, set()))),
        )
        try:
            if self._storage.is_local:
                rooms(Path(self._storage.url), FOLDER)
            if written is None:
                write_value(self._storage, entry.outputs, outputs, "output")
            else:
                self._storage.link(written, entry.outputs)
            size = self._storage.state(entry.outputs).size
            told = entry.model_copy(update={"nbytes": size}).model_dump_json().encode()
            for key in {entry_key(call, own=False), entry_key(call, own=True)}:
                self._storage.put(key, told)
        except (OSError, BaseRuntimeError) as error:
            if isinstance(error, ResultSerializationError):
                raise
            logger.warning("The result of task %r can't be kept: %s", call.task, error)

    def hand_on(self, entry: Entry, key: str) -> int | None:
        """Keep the outputs of an entry under another key; their size in bytes, or None where they are gone.

        A storage that can't be written is an error, as everywhere.
        """
        try:
            self._storage.link(entry.outputs, key)
            return self._storage.state(key).size
        except FileNotFoundError:
            return None

    def has(self, entry: Entry) -> bool:
        """Whether the outputs of an entry are there still."""
        return self._storage.exists(entry.outputs)

    def entries(self, task: str | None = None) -> list[Entry]:
        """What is kept, of one task or of all; the newest first."""
        found = (self._read(key) for key in self._keys(task) if key.endswith(".json"))
        newest = {(each.task, each.key): each for each in found if each is not None}
        return sorted(newest.values(), key=lambda each: each.made_at, reverse=True)

    def delete(self, task: str | None = None, older_than: timedelta | None = None) -> int:
        """Forget what is kept, of one task or of all, or what of it is older; returns how many results that are."""
        now, old = datetime.now(timezone.utc), set()
        for entry in self.entries(task):
            if older_than is None or entry.is_older(older_than, now):
                old.add(f"{folder(entry.task)}/{entry.key}")
        for key in self._keys(task):
            # With all of a task goes also what nothing tells of: outputs whose entry was never written.
            if older_than is None or key[: len(key.rpartition("/")[0]) + 1 + _KEY] in old:
                self._storage.delete(key)
        return len(old)

    def _keys(self, task: str | None) -> list[str]:
        return list(self._storage.list(FOLDER if task is None else folder(task)))

    def _read(self, key: str) -> Entry | None:
        try:
            return Entry.model_validate_json(self._storage.get(key))
        except FileNotFoundError:
            return None
        except ValueError:
            logger.warning("%s tells of no result that this flyteray knows, and is left alone.", key)
            return None

    def _is_too_old(self, entry: Entry, max_age_s: float | None) -> bool:
        at = datetime.now(timezone.utc)
        return max_age_s is not None and entry.is_older(timedelta(seconds=max_age_s), at)

    def _missing(self, places: Iterable[str]) -> str | None:
        for place in places:
            storage, key = locate_file(place)
            there = Path(storage.join(key)).exists() if storage.is_local else storage.exists(key)
            if not there and (storage.is_local or not open_storage(place).states()):
                return place
        return None


def _anew(entry: Entry, why: str) -> None:
    logger.warning("Task %r is run: its result of run %s is not reused, as %s.", entry.task, entry.run, why)


def _places(value: object, above: set[int]) -> Iterator[str]:
    """The paths of files and folders in a value, as deep as containers, dataclasses and models go."""
    if isinstance(value, DataFrame):
        value = value.location()
    if isinstance(value, Location):
        if isinstance(value, File) or (isinstance(value, Dir) and not value.is_empty):
            yield value.path
        return
    members: Iterable[object] = ()
    if isinstance(value, Mapping):
        members = value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        members = value
    elif isinstance(value, Carried):
        members = value.arguments
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = [getattr(value, each.name, None) for each in dataclasses.fields(value)]
    elif hasattr(value, "__pydantic_validator__"):
        members = getattr(value, "__dict__", {}).values()
    if id(value) not in above:
        for each in members:
            if type(each) not in _PLAIN:
                yield from _places(each, {*above, id(value)})
