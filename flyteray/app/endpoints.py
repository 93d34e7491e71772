"""The endpoints of apps in local mode, which the processes that serve them share in a file."""

from __future__ import annotations

import functools
import json
import os
import threading
from pathlib import Path

from flyteray import _private

LOCAL_APPS = "FLYTERAY_LOCAL_APPS"  # the environment variable by which an app finds the others: a JSON file


class LocalEndpoints:
    """The URLs of the local apps that run, by name.

    Args:
        inherited: The file of the process that serves this one, if one does.
    """

    def __init__(self, inherited: Path | None) -> None:
        self._inherited = inherited
        self._file: Path | None = None
        self._own: dict[str, str] = {}
        self._lock = threading.Lock()

    def find(self, app: str) -> str | None:
        """The URL of an app that runs in local mode."""
        if app in self._own:
            return self._own[app]
        try:
            urls = json.loads(self._inherited.read_text()) if self._inherited else {}
        except (OSError, ValueError):  # who served it has ended
            return None
        url = urls.get(app)
        return url if isinstance(url, str) else None

    def names(self) -> list[str]:
        """The apps of this process that run in local mode."""
        return list(self._own)

    def share(self, file: Path) -> None:
        """Keep the URLs in ``file`` from now on, where apps look."""
        with self._lock:
            self._file = file
            self._write()

    def put(self, app: str, url: str) -> None:
        """An app runs."""
        with self._lock:
            self._own[app] = url
            self._write()

    def remove(self, app: str) -> None:
        """An app has ended."""
        with self._lock:
            self._own.pop(app, None)
            self._write()

    def _write(self) -> None:
        if self._file is not None:
            _private.replace(self._file, json.dumps(self._own))


@functools.cache
def local_endpoints() -> LocalEndpoints:
    """The endpoints that this process knows."""
    inherited = os.environ.get(LOCAL_APPS)
    return LocalEndpoints(Path(inherited) if inherited else None)
