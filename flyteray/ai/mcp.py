"""The MCP servers of Flyte are absent; one of FastMCP is an ASGI app."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_SERVE = (
    "serve what FastMCP(...).http_app() returns with flyteray.app.extras.ASGIAppEnvironment; its "
    "tools may call flyteray.run."
)

_INSTEAD = {
    **dict.fromkeys(
        (
            "ALL_MCP_TOOLS",
            "ALL_MCP_TOOL_GROUPS",
            "FlyteMCPAppEnvironment",
            "MCPAppEnvironment",
            "READ_ONLY_MCP_TOOLS",
            "TOOL_GROUP_MAPPING",
            "resolve_tools",
        ),
        _SERVE,
    ),
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
