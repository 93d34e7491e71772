"""A child process that user code forks exits as a script does, never as the worker that it copies."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType
from typing import NoReturn


class ForkExit:
    """Ends a child process that the code within a ``with`` has forked where it leaves that code, as a script ends.

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
        code = error.code if isinstance(error, SystemExit) else None
        if error is not None and not isinstance(error, SystemExit):
            traceback.print_exception(error)
        elif isinstance(code, int | None):
            status = (code or 0) & 0xFF
        else:
            print(code, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
