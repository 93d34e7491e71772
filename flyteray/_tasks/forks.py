"""The end of a child process that user code forks: as a script's, never as the worker that it copies."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn


class ForkExit:
    """A child process that the code within a ``with`` has forked ends where it leaves that code, as a script ends.

    A copy of a worker has none of its threads: it can't report a result, and waits for ever where it tries.
    """

    def __enter__(self) -> None:
        self._process = os.getpid()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if os.getpid() != self._process:
            _end(error)


def _end(error: BaseException | None) -> NoReturn:
    status = 1
    try:
        if error is None:
            status = 0
        elif not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif error.code is None:
            status = 0
        elif isinstance(error.code, int):
            status = error.code & 0xFF
        else:
            print(error.code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
