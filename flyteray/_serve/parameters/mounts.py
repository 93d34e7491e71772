"""Mounts are links on a node to downloads of parameters; a note of each says which app has it."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock, alone

_MARK = ".flyteray-"


@dataclass(eq=False)
class Mount:
    """A path that leads to a download until :meth:`release`, or until its process ends."""

    mounts: Mounts
    note: Path
    lock: FileLock

    def release(self) -> None:
        """Give the path up; the last of an app's processes to do so removes the link. Twice is harmless."""
        if not self.lock.closed:
            self.mounts._release(self.note, self.lock)


@dataclass(frozen=True)
class _Claim:
    """A claim of an app: it has linked ``target`` to ``source``."""

    app: str
    target: str
    source: str

    def remove_link(self) -> None:
        """Remove the link if it still leads there."""
        with contextlib.suppress(OSError):
            if os.readlink(self.target) == self.source:
                os.unlink(self.target)


class Mounts:
    """The mounted paths of a node, noted in a folder of it; a process holds a lock on the note of each of its own."""

    def __init__(self, folder: Path, app: str) -> None:
        self._folder = folder
        self._app = app

    def put(self, target: Path, source: Path) -> Mount:
        """Make ``target`` a link to ``source``, in place of the link that this app has there already.

        Raises OSError where another app has something else there, or something that is no link of ours is there.
        """
        claim = _Claim(self._app, str(target), str(source))
        with self._alone():
            there = [other for other in self._live_claims() if other.target == claim.target]
            others = [each.app for each in there if each.app != self._app and each.source != claim.source]
            if others:
                raise OSError(
                    f"app {others[0]!r} has something else mounted there on this node: mount one of the two elsewhere"
                )
            note = self._folder / f"{uuid.uuid4().hex}.json"
            lock = FileLock(note)
            try:
                lock.take()
                json.dump(vars(claim), lock.file)
                lock.file.flush()
                self._link(target, source, ours=bool(there))
            except BaseException:
                note.unlink(missing_ok=True)
                lock.close()
                raise
            return Mount(self, note, lock)

    def sweep(self) -> None:
        """Remove the links of processes that have ended without doing so."""
        if self._folder.is_dir():
            with self._alone():
                self._live_claims()

    def _link(self, target: Path, source: Path, ours: bool) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            with contextlib.suppress(OSError):  # it is not empty
                target.rmdir()
        # A link that leads nowhere is of a cluster that is gone.
        if target.exists() and not (ours and target.is_symlink()):
            raise FileExistsError("there is something else already: mount it at a path that is free")
        fresh = target.with_name(f"{_MARK}{uuid.uuid4().hex}")
        fresh.symlink_to(source)
        try:
            os.replace(fresh, target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    def _release(self, note: Path, lock: FileLock) -> None:
        with self._alone():
            claim = _read(note)
            note.unlink(missing_ok=True)
            lock.close()
            living = self._live_claims()
            if claim is not None and claim not in living:
                claim.remove_link()
                # An app that has taken the path over and failed gives it back.
                before = next((each for each in living if each.target == claim.target), None)
                if before is not None and not os.path.lexists(claim.target):
                    self._link(Path(before.target), Path(before.source), ours=True)

    def _live_claims(self) -> list[_Claim]:
        """The claims of processes that run; claims and links of others are removed."""
        living: list[_Claim] = []
        dead: list[_Claim] = []
        for note in sorted(self._folder.glob("*.json")):
            with FileLock(note) as lock:
                held = not lock.try_take()
            claim = _read(note)
            if not held:
                note.unlink(missing_ok=True)
            if claim is not None:
                (living if held else dead).append(claim)
        for claim in dead:
            if claim not in living:
                claim.remove_link()
        return living

    def _alone(self) -> AbstractContextManager[FileLock]:
        _private.folder(self._folder)
        return alone(self._folder / "lock")


def _read(note: Path) -> _Claim | None:
    try:
        return _Claim(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):  # cut off by the end of its process
        return None
