"""The `flyteray` command as users run it: a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-c", "from flyteray.cli import main; main()"]


@dataclass(frozen=True)
class Shell:
    """A user's terminal: a working directory and a home."""

    folder: Path
    home: Path

    def flyteray(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return self.run([*COMMAND, *arguments], **environment)

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, without what this process has in its environment for Ray and flyteray."""
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))
        }
        ours = {"FLYTERAY_HOME": str(self.home), "COLUMNS": "200", **environment}
        return subprocess.run(
            command,
            cwd=self.folder,
            env=clean | ours,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def json(self, *arguments: str) -> Any:
        """Run the command and read what it prints as JSON."""
        done = self.flyteray(*arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
