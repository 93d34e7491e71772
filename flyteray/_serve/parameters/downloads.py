"""Downloads are shared by the replicas of a node: fetched once for all of them, kept while one of them uses them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from flyteray import _private
from flyteray._machine.file_lock import FileLock, shared
from flyteray.storage import State, Storage, locate_file, open_storage
from flyteray.storage.address import directory_hash, file_hash, is_ignored

logger = logging.getLogger(__name__)

_FILES_AT_A_TIME = 8
_TELL_EVERY_S = 10.0
_UNFINISHED = ".tmp-"
_UNUSED_S = 600.0  # a replica that takes the place of a killed one may need it again
_MIB = 2**20


class OtherContentError(Exception):
    """The content of a URL has another hash than was asked for."""


@dataclass(eq=False)
class Download:
    """A file or folder that stays at ``path`` until :meth:`release` or the end of the process, shared and read-only."""

    path: Path
    entry: Path
    lock: FileLock

    def release(self) -> None:
        """Use it no more; the last of the node's processes to do so removes it. Twice is harmless."""
        if not self.lock.closed:
            with self.lock:
                if self.lock.try_take():
                    _remove(self.entry, self.lock)


class Downloads:
    """The downloads of a node, in a folder of it, each under a name made of its source and state.

    A process that uses an entry holds a shared lock on it, one that makes or removes it an exclusive one; locks end
    with their process. An entry appears by one rename, so there is none that is half done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def file(self, url: str, content: str | None = None) -> Download:
        """Fetch a file; with ``content`` it must be the one of that hash, or OtherContentError is raised.

        A missing file is a FileNotFoundError; one that changes while it is fetched, or has no room here, an OSError; a
        storage that can't be reached a RuntimeSystemError.
        """
        storage, key = locate_file(url)
        state = storage.state(key)

        def fetch(target: Path) -> None:
            _check(content, lambda: file_hash(url))
            storage.get_file(key, target / key)
            if storage.state(key) != state:
                raise _changed(url)

        found = self._entry(repr(("file", url, state, content)), url, state.size, fetch)
        return replace(found, path=found.entry / key)

    def directory(self, url: str, ignore: Sequence[str] = (), content: str | None = None) -> Download:
        """Fetch a directory without the files that match one of the patterns; raises as :meth:`file` does.

        A file in it that changes, comes or goes while it is fetched is an OSError.
        """
        storage = open_storage(url)
        states = _listing(storage, ignore)

        def fetch(target: Path) -> None:
            _check(content, lambda: directory_hash(url, ignore))
            with ThreadPoolExecutor(_FILES_AT_A_TIME) as pool:
                list(pool.map(lambda key: storage.get_file(key, target / key), states))
            now = _listing(storage, ignore)
            if changed := next((key for key in {**states, **now} if states.get(key) != now.get(key)), None):
                raise _changed(storage.join(changed))

        size = sum(state.size for state in states.values())
        return self._entry(repr(("directory", url, states, tuple(ignore), content)), url, size, fetch)

    def _entry(self, name: str, url: str, size: int, fetch: Callable[[Path], None]) -> Download:
        _private.folder(self._folder)
        self._sweep_unfinished()
        digest = hashlib.sha256(name.encode()).hexdigest()[:24]
        entry, lock_path = self._folder / digest, self._folder / f"{digest}.lock"
        while True:
            lock = shared(lock_path)
            try:
                lock.file.truncate(0)  # it is used
                if entry.is_dir():
                    return Download(entry, entry, lock)
                # Another process may get in between two locks, so the entry is looked at after each.
                if not lock.try_take():
                    logger.info("Another process of this node fetches %s: waiting for it.", url)
                    lock.take()
                if lock.is_current() and not entry.is_dir():
                    self._make(entry, url, size, fetch)
            except BaseException:
                lock.close()
                raise
            lock.close()

    def _make(self, entry: Path, url: str, size: int, fetch: Callable[[Path], None]) -> None:
        fresh = entry.with_name(f"{_UNFINISHED}{entry.name}")
        shutil.rmtree(fresh, ignore_errors=True)  # of a process that was killed
        fresh.mkdir(mode=_private.FOLDER)
        began = time.monotonic()
        try:
            with _log_progress(url, size, fresh):
                fetch(fresh)
            for path in fresh.rglob("*"):
                if path.is_file():
                    path.chmod(0o400)  # it is shared: nobody may change it
            os.rename(fresh, entry)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        logger.info("Fetched %s (%.1f MiB) in %.1f s.", url, size / _MIB, time.monotonic() - began)

    def sweep(self) -> None:
        """Remove entries whose last user was killed a while ago; call it when a replica has all that it needs."""
        for lock_path in self._folder.glob("*.lock"):
            with suppress(OSError), FileLock(lock_path) as lock:
                if not lock.try_take() or not lock.is_current():
                    continue
                noted = os.fstat(lock.file.fileno())
                if noted.st_size == 0:
                    lock.file.write("unused")  # since now
                elif time.time() - noted.st_mtime > _UNUSED_S:
                    _remove(self._folder / lock_path.stem, lock)

    def _sweep_unfinished(self) -> None:
        """Remove unfinished entries of processes that were killed."""
        for fresh in self._folder.glob(f"{_UNFINISHED}*"):
            lock_path = self._folder / f"{fresh.name.removeprefix(_UNFINISHED)}.lock"
            with FileLock(lock_path) as lock:
                if lock.try_take():
                    shutil.rmtree(fresh, ignore_errors=True)
                    lock_path.unlink(missing_ok=True)


def _listing(storage: Storage, ignore: Sequence[str]) -> Mapping[str, State]:
    found = storage.states()
    # An object store has no empty folders.
    if not found and not (storage.is_local and Path(storage.url).is_dir()):
        raise FileNotFoundError(f"nothing is stored below {storage.url}")
    return {key: state for key, state in found.items() if not is_ignored(key, ignore)}


def _check(content: str | None, found: Callable[[], str]) -> None:
    if content is not None and found() != content:
        raise OtherContentError


def _changed(url: str) -> OSError:
    return OSError(f"{url} changed while it was fetched")


def _remove(entry: Path, lock: FileLock) -> None:
    going = entry.with_name(f"{_UNFINISHED}{entry.name}")
    shutil.rmtree(going, ignore_errors=True)
    if entry.is_dir():
        os.rename(entry, going)
        shutil.rmtree(going, ignore_errors=True)
    lock.path.unlink(missing_ok=True)


@contextmanager
def _log_progress(url: str, size: int, folder: Path) -> Iterator[None]:
    done = threading.Event()

    def tell() -> None:
        while not done.wait(_TELL_EVERY_S):
            with suppress(OSError):  # a file that was moved just now
                there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
                logger.info("Fetching %s: %.0f of %.0f MiB.", url, there / _MIB, size / _MIB)

    teller = threading.Thread(target=tell, name="flyteray-download", daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
