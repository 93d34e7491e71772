"""A git repository may say how the code in it is configured."""

from __future__ import annotations

from flyteray.config._config import config_from_root

__all__ = ["config_from_root"]
