"""What programs ask that extend Flyte: whether it is ready, and for modules that may not be needed."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


def is_initialized() -> bool:
    """Whether verbs can be called: always, as without ``init`` they use this machine."""
    return True


class _LazyModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy_module(module_name: str) -> ModuleType:
    """A module that is imported when something of it is asked for; ImportError comes then as well."""
    return _LazyModule(module_name)
