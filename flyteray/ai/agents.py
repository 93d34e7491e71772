"""The agents of Flyte are absent; an agent is a task that calls a model."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_TASK = (
    "an agent is ordinary code here: call its model in a task, put what is to be done once only into "
    "functions with flyteray.trace, and let its tools be tasks."
)
_KEEP = "keep what an agent remembers in a file of flyteray.io, or in a database of your own."

_INSTEAD = {
    "AccessDenied": _TASK,
    "Agent": _TASK,
    "AgentEvent": _TASK,
    "AgentProtocol": _TASK,
    "AgentResult": _TASK,
    "AgentTool": _TASK,
    "ConcurrencyError": _TASK,
    "LLMCallable": _TASK,
    "LLMMessage": _TASK,
    "MCPServerSpec": _TASK,
    "ToolCallHandler": _TASK,
    "ToolFn": _TASK,
    "agent_progress_cb": _TASK,
    "tool": _TASK,
    "MemoryMeta": _KEEP,
    "MemoryStore": _KEEP,
    "MemoryStoreError": _KEEP,
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
