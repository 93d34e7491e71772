"""The cluster of this process: declarations and files ask it, without knowing who connects to it and how."""

from __future__ import annotations

import functools
import os
from typing import Any

from flyteray._settings import Settings
from flyteray.errors import InitializationError

ENDPOINT_PATTERN = "INTERNAL_APP_ENDPOINT_PATTERN"  # an environment variable, as in Flyte


class Cluster:
    """A cluster that nobody has named yet; the session of a process knows more."""

    def storage(self) -> str:
        """The storage that every node reads: its URL or path."""
        return Settings.load().storage

    def endpoint_pattern(self) -> str | None:
        """The URL of every app, with ``{app_fqdn}`` for its name; None where there is no cluster."""
        return None

    async def read_output(self, output: Any) -> Any:
        """The output of a run. InitializationError: nobody has said which cluster has it."""
        raise InitializationError(
            "InitializationError",
            "user",
            f"{output!r} can't be read yet: say by flyteray.init() which cluster has it.",
        )

    def endpoint(self, app: str) -> str | None:
        """The URL that an app of this name has, as the environment or the cluster says; None where neither does."""
        pattern = os.environ.get(ENDPOINT_PATTERN) or self.endpoint_pattern()
        return pattern.replace("{app_fqdn}", app) if pattern else None


class ThisProcess:
    """The process that this code runs in."""

    def __init__(self) -> None:
        self.cluster = Cluster()


@functools.cache
def this_process() -> ThisProcess:
    """The context of this process."""
    return ThisProcess()
