"""The environment variables that tasks of a local run find in this process, until the run has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping


class LocalVariables:
    """Variables of a local run. Tasks of one process share its environment: of two that run at once, one may see the
    other's.

    Args:
        above: Those of the whole run, which go before a task's own.
    """

    def __init__(self, above: Mapping[str, str]) -> None:
        self._above = dict(above)
        self._before: dict[str, str | None] = {}

    def deliver(self, own: Mapping[str, str]) -> None:
        """Put a task's own variables, and those of the run, into the environment."""
        for name, value in {**own, **self._above}.items():
            self._before.setdefault(name, os.environ.get(name))
            os.environ[name] = value

    def withdraw(self) -> None:
        """Leave the environment as it was."""
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._before.clear()
