"""User code that wants to end the process: an error of the app, and the process goes on."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from flyteray.errors import RuntimeUserError


def exited(what: str, error: SystemExit) -> RuntimeUserError:
    """The error for user code that wanted to end the process."""
    how = f": {error.code}" if isinstance(error.code, str) else f" with status {error.code}."
    wrong = RuntimeUserError("SystemExit", f"{what} exited{how}")
    wrong.__cause__ = error
    return wrong


async def exit_as_error(what: str, running: Awaitable[Any]) -> Any:
    """What an awaitable of user code gives; SystemExit would tear down the loop instead of ending the task."""
    try:
        return await running
    except SystemExit as error:
        raise exited(what, error) from error
