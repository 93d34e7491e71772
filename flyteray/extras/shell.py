"""Tasks of shell commands are absent; a task runs a command itself."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_RUN = (
    "run the command in a task with subprocess.run(..., check=True), and return what it has written "
    "as flyteray.io.File or Dir."
)

_INSTEAD = {
    "DictMode": _RUN,
    "FlagSpec": _RUN,
    "Glob": _RUN,
    "OutputSpec": _RUN,
    "Stderr": _RUN,
    "Stdout": _RUN,
    "create": _RUN,
    "listMode": _RUN,
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
