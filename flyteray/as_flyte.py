"""A script that says ``import flyte``, and nothing of flyteray, runs with flyteray in its place.

``python -m flyteray.as_flyte script.py ...`` is what ``python script.py ...`` would be; its tasks and apps run so too,
wherever they do. ``flyteray run --as-flyte script.py task`` does the same, as do ``serve``, ``deploy`` and ``build``.
Where the real ``flyte`` is installed it is left alone and not used.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from types import ModuleType, TracebackType

from flyteray._plan.bundle import alias

_USAGE = "usage: python -m flyteray.as_flyte SCRIPT.py [ARGUMENT]..."


def run_script(arguments: Sequence[str]) -> None:
    """Run a script as the main program, with what follows its path in ``sys.argv``; SystemExit: there is none."""
    if not arguments or arguments[0].startswith("-"):
        sys.exit(_USAGE)
    script = os.path.abspath(arguments[0])
    try:
        with io.open_code(script) as file:
            source = file.read()
    except OSError as error:
        sys.exit(f"{_USAGE}\n{arguments[0]!r} can't be read: {error.strerror}.")
    alias.install()
    sys.argv = list(arguments)
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(script)  # was the working folder, for -m
    main = ModuleType("__main__")
    main.__file__ = script
    main.__loader__ = SourceFileLoader("__main__", script)
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    shown = sys.excepthook

    def as_of_the_script(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        frames = trace
        while frames is not None and frames.tb_frame.f_globals is not main.__dict__:
            frames = frames.tb_next
        from flyteray._plan import failure  # deferred: most scripts do not fail

        frames = failure.users_frames(frames)
        shown(kind, error.with_traceback(frames), frames)

    sys.excepthook = as_of_the_script
    exec(compile(source, script, "exec", dont_inherit=True), main.__dict__)


if __name__ == "__main__":
    run_script(sys.argv[1:])
