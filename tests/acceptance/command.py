"""The `flyteray` command as users run it: a process."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from flyteray.cli import main; main()"]
TIMEOUT_S = 180


@dataclass(frozen=True)
class Shell:
    """A user's terminal: a working directory and a home."""

    folder: Path
    home: Path

    def flyteray(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        with tempfile.TemporaryDirectory() as folder:
            outputs = Path(folder, "stdout"), Path(folder, "stderr")
            for path in outputs:
                path.touch()
            request = {
                "arguments": arguments,
                "environment": self._environment(environment),
                "folder": str(self.folder),
                "stdout": str(outputs[0]),
                "stderr": str(outputs[1]),
                "timeout_s": TIMEOUT_S,
            }
            code = _forking().ask(json.dumps(request))
            return subprocess.CompletedProcess(arguments, code, *(path.read_text() for path in outputs))

    def run(
        self, command: list[str], umask: int = -1, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, without what this process has in its environment for Ray and flyteray.

        It has this process's umask unless another is given.
        """
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(environment),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            umask=umask,
        )

    def json(self, *arguments: str) -> Any:
        """Run the command and read what it prints as JSON."""
        done = self.flyteray(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def _environment(self, given: dict[str, str]) -> dict[str, str]:
        return {**_clean(), "FLYTERAY_HOME": str(self.home), "COLUMNS": "200", **given}


class _Forking:
    """The process that the commands are forked from; it ends with this one, which holds its stdin."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py"))],
            env=_clean(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str) -> int:
        """The exit code of the command, minus the signal's number if one ended it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(request, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@functools.cache
def _forking() -> _Forking:
    return _Forking()


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))}
