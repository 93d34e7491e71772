"""What a git repository says of the code in it."""

from __future__ import annotations

from flyteray.git._config import config_from_root

__all__ = ["config_from_root"]
