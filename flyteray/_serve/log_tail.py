"""The tail of a log: the last lines that this process and its children wrote to standard output and error."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys

_LINES = 20  # of each of the two
_BYTES = 8192  # read for them
_RAYS_OWN = re.compile(r":(?:actor|task)_name:|:job_id:|\(?(?:INFO|DEBUG|WARNING) \d{4}-\d\d-\d\d .* -- ")


class LogTail:
    """The files that standard output and standard error go to, from where they end now.

    There is nothing to read where they are no regular files: a terminal, a pipe.
    """

    def __init__(self) -> None:
        self._files = [file for number in (1, 2) if (file := _regular(number)) is not None]

    def tail(self) -> str:
        """The last lines, without Ray's about itself; those of standard error come last."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # user code may have replaced or closed them
                stream.flush()
        lines = [line for path, start in dict.fromkeys(self._files) for line in _last(path, start)]
        return "\n".join(lines)


def _regular(number: int) -> tuple[str, int] | None:
    """The regular file behind a file descriptor, and its size."""
    with contextlib.suppress(OSError):
        found = os.fstat(number)
        if stat.S_ISREG(found.st_mode):
            return os.readlink(f"/proc/self/fd/{number}"), found.st_size
    return None


def _last(path: str, start: int) -> list[str]:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = start if start <= size else 0  # it was rotated
        file.seek(max(start, size - _BYTES))
        lines = file.read().decode(errors="replace").splitlines()
        return [line for line in lines if line.strip() and not _RAYS_OWN.match(line)][-_LINES:]
    return []
