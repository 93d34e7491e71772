"""Connectors are absent; a task calls the other system itself."""

from __future__ import annotations

from typing import Any

from flyteray._public import absent

_CALL = (
    "connectors take tasks from the backend of Flyte, and Ray runs tasks itself. Call the other "
    "system from an async task: start the job, then ask how it goes until it has ended."
)

_INSTEAD = {
    **dict.fromkeys(
        (
            "AsyncConnector",
            "AsyncConnectorExecutorMixin",
            "ConnectorRegistry",
            "ConnectorService",
            "Resource",
            "ResourceMeta",
        ),
        _CALL,
    ),
}


def __getattr__(name: str) -> Any:
    return absent(__name__, name, _INSTEAD)
