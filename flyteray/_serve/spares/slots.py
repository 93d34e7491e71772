"""Slots limit the spare processes of a kind on one machine: each holds one until it is a replica, or ends."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.spares import BLANK
from flyteray._plan.spec import AppSpec, Spec
from flyteray._traces.asked import Variables

_ATTEMPTS = 5
_AGAIN_S = 0.1


class Told(Spec):
    """What a spare is to become, by which pattern code on its machine finds the endpoints of apps, and what the cluster
    asks of traces.
    """

    spec: AppSpec
    endpoint_pattern: str
    traces: Variables = ()


class Slots:
    """The slots of a kind. A spare that is killed leaves its own free."""

    def __init__(self, kind: str) -> None:
        parent = cache_folder().parent / f"flyteray-spares-{os.getuid()}"
        self._is_blank = kind == BLANK
        self._folder = _private.folder(parent / hashlib.sha256(kind.encode()).hexdigest()[:24])

    def tell(self, told: Told) -> None:
        """Keep what spares of this kind are to become, for them to read: on this machine, for its owner alone."""
        if not self._is_blank:
            _private.replace(self._told, told.model_dump_json())

    def told(self) -> Told:
        """What spares of this kind are to become."""
        return Told.model_validate_json(self._told.read_bytes())

    def forget(self) -> None:
        """Remove what spares of this kind were told, as no more of them are wanted."""
        self._told.unlink(missing_ok=True)

    def take(self) -> FileLock | None:
        """A slot for this process, until it is closed; None where others have them all."""
        for attempt in range(_ATTEMPTS):
            for slot in self._all():
                lock = FileLock(slot)
                if lock.try_take():
                    return lock
                lock.close()
            time.sleep(_AGAIN_S * (attempt + 1 < _ATTEMPTS))  # somebody may only have looked
        return None

    def free(self) -> int:
        """How many nobody has now."""
        free = 0
        for slot in self._all():
            with FileLock(slot) as lock:
                free += lock.try_take()
        return free

    @contextlib.contextmanager
    def filling(self) -> Iterator[bool]:
        """Whether this process alone may have spares started inside the block; otherwise another one does so."""
        with FileLock(self._folder / "filling.lock") as lock:
            yield lock.try_take()

    @property
    def _told(self) -> Path:
        return self._folder / "told.json"

    def _all(self) -> list[Path]:
        number = 1 if self._is_blank else self.told().spec.spare
        return [self._folder / f"{each}.lock" for each in range(number)]
