"""Flyte's configuration files are found and read here."""

from __future__ import annotations

from flyteray import _public
from flyteray.config._config import Config, ImageConfig, LocalConfig, PlatformConfig, TaskConfig, auto
from flyteray.config._file import ConfigFile, get_config_file

__all__ = [
    "Config",
    "ConfigFile",
    "ImageConfig",
    "LocalConfig",
    "PlatformConfig",
    "TaskConfig",
    "auto",
    "get_config_file",
]

_public.adopt(__name__, globals())
