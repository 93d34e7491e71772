"""The Pythons of this node besides the one that runs here: uv finds them, and downloads none."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

_TIMEOUT_S = 30.0


def find_uv() -> list[str] | None:
    """The command that runs uv: from PATH, beside this Python, or its package; None where it is not there."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    if found := shutil.which("uv", path=beside):
        return [found]
    return [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else None


def other_python(wanted: str) -> str | None:
    """The path of a Python of a version specifier; None where uv finds none, or is not there."""
    uv = find_uv()
    if uv is None:
        return None
    asked = ["python", "find", "--no-python-downloads", "--system", "--no-project", "--no-config", wanted]
    nowhere = subprocess.DEVNULL
    try:
        found = subprocess.check_output([*uv, *asked], stdin=nowhere, stderr=nowhere, timeout=_TIMEOUT_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(found.strip()) or None
