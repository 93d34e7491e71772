"""Sandboxes for generated code are absent; a task runs code in a process of its own."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_PROCESS = (
    "run generated code with subprocess.run([sys.executable, file], timeout=...) in a task whose "
    "environment has the image and the limits for it. Code that nobody trusts belongs into a "
    "container or a machine of its own."
)
_ORCHESTRATE = (
    "call tasks from a task: a task is an ordinary function, which asyncio.gather, flyteray.map and "
    "loops combine."
)

_INSTEAD = {
    "CodeTaskTemplate": _PROCESS,
    "ImageConfig": _PROCESS,
    "SandboxedConfig": _PROCESS,
    "SandboxedTaskTemplate": _PROCESS,
    "create": _PROCESS,
    "sandbox_environment": _PROCESS,
    "ORCHESTRATOR_SYNTAX_PROMPT": _ORCHESTRATE,
    "orchestrate_local": _ORCHESTRATE,
    "orchestrator_from_str": _ORCHESTRATE,
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
