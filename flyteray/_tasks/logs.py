"""What attempts write is kept in storage, so that it is read on every node and after its own is gone."""

from __future__ import annotations

import atexit
import json
import logging
import os
import stat
import sys
import threading
import time
from collections import deque
from typing import NamedTuple

from flyteray._plan.actions import logs
from flyteray._tasks.call import Call
from flyteray.errors import BaseRuntimeError
from flyteray.storage import Storage, open_storage

_EVERY_S = 2.0  # how much of a log is lost with its process, at most
_LOOK_S = 0.25  # how well it is known when a line was written
_LOOKS = 4096  # of one attempt; where it takes longer, every second one is forgotten
_LAST_WORDS_S = 5.0  # for what is still to be kept when the process ends

logger = logging.getLogger(__name__)


class LogKeeper:
    """Keeps what this process writes while an attempt runs, from a thread of its own.

    An attempt that writes nothing costs nothing. What others write is kept every two seconds, and when they have ended;
    nobody waits for that. A log that storage refuses is left where it was written, which a warning names.

    Args:
        root: The cluster's storage.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._storage: Storage | None = None
        self._streams = [found for number in (1, 2) if (found := _Stream.of(number)) is not None]
        self._attempts: list[_Attempt] = []
        self._ended: deque[_Attempt] = deque()
        self._wake = threading.Event()
        self._idle = False
        self._keeping = threading.Lock()
        self._process = os.getpid()
        if self._streams:
            threading.Thread(target=self._keep_forever, name="flyteray-logs", daemon=True).start()
            atexit.register(self.keep_last_words)

    def begin(self, call: Call) -> _Attempt:
        """Take note that an attempt begins; :meth:`end` must follow. Of several at one time each has what all write."""
        attempt = _Attempt(call, [stream.size() for stream in self._streams])
        self._attempts.append(attempt)
        if self._idle:
            self._wake.set()
        return attempt

    def end(self, attempt: _Attempt) -> None:
        """Take note that an attempt has ended."""
        self._attempts.remove(attempt)
        for stream in (sys.stdout, sys.stderr):
            try:  # noqa: SIM105  # suppress() costs more than a flush
                stream.flush()
            except Exception:  # noqa: BLE001, S110  # user code may have replaced or closed them
                pass
        attempt.ends = [stream.size() for stream in self._streams]
        if attempt.ends != attempt.kept:
            attempt.look(attempt.ends)
            self._ended.append(attempt)
            self._wake.set()

    def _keep_forever(self) -> None:
        while True:
            self._idle = True  # before the look, so that who begins later wakes this thread
            if not self._attempts:
                self._wake.wait()
            self._idle = False
            self._wake.clear()
            self._look_for_a_while()
            with self._keeping:
                self._keep_all()

    def _look_for_a_while(self) -> None:
        """Note how the logs of the running attempts grow, until it is time to keep them."""
        until = time.monotonic() + _EVERY_S
        while not self._ended and (rest := until - time.monotonic()) > 0:
            self._wake.wait(min(_LOOK_S, rest))
            self._wake.clear()
            for attempt in list(self._attempts):
                attempt.look([stream.size() for stream in self._streams])

    def keep_last_words(self) -> None:
        """Keep what is still to be kept: this process ends now."""
        if os.getpid() == self._process and self._keeping.acquire(timeout=_LAST_WORDS_S):
            self._keep_all()

    def _keep_all(self) -> None:
        running = list(self._attempts)
        while self._ended:
            self._keep(self._ended.popleft())
        for attempt in running:
            self._keep(attempt)

    def _keep(self, attempt: _Attempt) -> None:
        if attempt.refused:
            return
        try:
            now = [stream.size() for stream in self._streams]
            ends = attempt.ends or now  # in this order: after its end it is another one's log that grows
            for index, (stream, end) in enumerate(zip(self._streams, ends, strict=True)):
                if end > attempt.kept[index]:
                    self._keep_stream(attempt, index, stream, end)
        except (BaseRuntimeError, OSError, ValueError) as error:
            attempt.refused = True  # the warning is in the log itself: to try again would write another one
            where = " and ".join(stream.path for stream in self._streams)
            logger.warning("The log of %s stays in %s of this node: %s", attempt.name, where, error)

    def _keep_stream(self, attempt: _Attempt, index: int, stream: _Stream, end: int) -> None:
        begin, storage = attempt.begins[index], self._opened()
        if not any(attempt.pieces):
            for key in storage.list(attempt.folder):  # a parent's next attempt counts its children anew
                storage.delete(key)
        changed = (attempt.kept[index] - begin) // logs.PIECE
        wanted, there = logs.pieces(end - begin), attempt.pieces[index]
        for number in set(there).difference(wanted):
            storage.delete(attempt.key(stream, number))
        for number in wanted:
            if number >= changed:
                offset = begin + number * logs.PIECE
                data = stream.read(offset, min(logs.PIECE, end - offset))
                storage.put(attempt.key(stream, number), data)
        storage.put(attempt.times_key(stream), json.dumps(attempt.looks[index]).encode())
        attempt.kept[index], attempt.pieces[index] = end, wanted

    def _opened(self) -> Storage:
        if self._storage is None:
            self._storage = open_storage(self._root)
        return self._storage


class _Attempt:
    """An attempt, from where to where its log reaches in each stream, and how far and in which pieces that is kept."""

    def __init__(self, call: Call, begins: list[int]) -> None:
        self._call = call
        self.begins = begins
        self.kept = list(begins)
        self.pieces: list[list[int]] = [[] for _ in begins]
        self.ends: list[int] | None = None
        self.refused = False
        self.looks: list[list[tuple[float, int]]] = [[] for _ in begins]  # times and sizes

    def look(self, sizes: list[int]) -> None:
        """Note how large the streams are now; what is written after its end is not of this attempt."""
        now = round(time.time(), 3)
        for looks, begin, size in zip(self.looks, self.begins, self.ends or sizes, strict=True):
            if size - begin > (looks[-1][1] if looks else 0):
                looks.append((now, size - begin))
                if len(looks) > _LOOKS:
                    del looks[::2]

    @property
    def name(self) -> str:
        return f"action {self._call.action} of run {self._call.run}"

    @property
    def folder(self) -> str:
        return logs.attempt_folder(*self._where)

    def key(self, stream: _Stream, number: int) -> str:
        return logs.piece_key(*self._where, stream.name, number)

    def times_key(self, stream: _Stream) -> str:
        return logs.times_key(*self._where, stream.name)

    @property
    def _where(self) -> tuple[str, str, int]:
        return self._call.run, self._call.action, self._call.attempt + 1


class _Stream(NamedTuple):
    """A regular file that this process's standard output or error goes to, opened for reading."""

    name: str
    path: str
    file: int

    @classmethod
    def of(cls, number: int) -> _Stream | None:
        """The file behind a file descriptor; None where it is none, as with a terminal."""
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return None
            path = os.readlink(f"/proc/self/fd/{number}")
            return cls(logs.STREAMS[number - 1], path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None

    def size(self) -> int:
        return os.lseek(self.file, 0, os.SEEK_END)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.file, size, offset)
