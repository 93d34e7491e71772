"""Verbs that only look at a cluster or take from it start none."""

from __future__ import annotations

from flyteray._cluster import local
from flyteray._settings import Settings
from flyteray.errors import ClusterError


def require_cluster() -> None:
    """Return when a cluster is named or the local one runs.

    Raises:
        ClusterError: there is none.
    """
    settings = Settings.load()
    if settings.address is None and local.find(settings) is None:
        raise ClusterError("No local cluster runs, so there is nothing to look at: `flyteray up` starts it.")
