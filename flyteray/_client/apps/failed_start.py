"""What is raised when an app did not come up, wherever it was to run."""

from __future__ import annotations

import textwrap

from flyteray._plan import failure
from flyteray._plan.info import STARTUP_TIMEOUT, ErrorInfo
from flyteray.errors import ActivationTimeoutError, DeploymentError


def failed_start(app: str, error: ErrorInfo, rest: str) -> DeploymentError:
    """The error for an app that told why it could not start; what the user's code raised is the cause.

    Args:
        app: Its name.
        error: What it told.
        rest: What else there is to say, after a full stop.
    """
    raised: DeploymentError
    if error.code == STARTUP_TIMEOUT:
        raised = ActivationTimeoutError(f"App {app!r} failed to become active: {error.message}{rest}")
    else:
        raised = DeploymentError(f"App {app!r} could not start: {error.code}: {error.message}{rest}")
    raised.__cause__ = failure.restore(error)
    return raised


def last_lines(log: str) -> str:
    """The end of an app's log as it follows a message; nothing where there is none."""
    return f"\nLast lines of its log:\n{textwrap.indent(log.rstrip(), '  ')}" if log else ""
