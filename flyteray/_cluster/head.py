"""The local cluster's head is configured beyond the options of ``ray start``, which calls this as its hook."""

from __future__ import annotations

import os
from typing import Any


def configure(parameters: Any, head: bool) -> None:
    """Start no Ray Client server: nobody needs it here, its port is fixed and its process costs 100 MB."""
    parameters.ray_client_server_port = None
    del os.environ["RAY_START_HOOK"]  # a Ray that a user's task starts is none of ours
