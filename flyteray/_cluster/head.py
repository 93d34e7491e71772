"""What the local cluster's head is told on top of the options of ``ray start`` (its ``RAY_START_HOOK``)."""

from __future__ import annotations

import os
from typing import Any


def configure(parameters: Any, head: bool) -> None:
    """No Ray Client server: nobody needs it here, its port is fixed and its process costs 100 MB."""
    parameters.ray_client_server_port = None
    del os.environ["RAY_START_HOOK"]  # a Ray that a user's task starts is none of ours
