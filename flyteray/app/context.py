"""An app's context tells it where it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from flyteray._declare.context import RAW_DATA_PATH
from flyteray._settings import DOMAIN, PROJECT


@dataclass(frozen=True)
class AppContext:
    """Where an app runs.

    Attributes:
        mode: ``"local"`` in the calling process, ``"remote"`` on a cluster.
        project: That which whoever served it has named, or empty.
        raw_data_path: Where its files go, a path or URL; empty: to the storage.
        domain: That which whoever served it has named, or empty.
    """

    mode: Literal["local", "remote"] = "remote"
    project: str = ""
    raw_data_path: str = ""
    domain: str = ""


def ctx() -> AppContext:
    """The context of the app that runs in this process. Never fails; see :func:`flyteray.ctx` for tasks."""
    return AppContext(
        mode="local" if os.environ.get("_RUN_MODE") == "local" else "remote",
        project=os.environ.get(PROJECT, ""),
        raw_data_path=os.environ.get(RAW_DATA_PATH, ""),
        domain=os.environ.get(DOMAIN, ""),
    )
