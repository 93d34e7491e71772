"""Names for programs that extend Flyte: those that mean something here. The others say so when they are used."""

from __future__ import annotations

import importlib
import types
import typing

from flyteray import _public
from flyteray._declare.tasks.task import AsyncFunctionTaskTemplate, TaskTemplate

__all__ = ["AsyncFunctionTaskTemplate", "TaskTemplate", "is_initialized", "lazy_module"]


def is_initialized() -> bool:
    """Whether verbs can be called: always, as without ``init`` they use this machine."""
    return True


class _LazyModule(types.ModuleType):
    def __getattr__(self, name: str) -> typing.Any:
        return getattr(importlib.import_module(self.__name__), name)


def lazy_module(module_name: str) -> types.ModuleType:
    """A module that is imported when something of it is asked for; ImportError comes then as well."""
    return _LazyModule(module_name)


_public.adopt(__name__, globals())

_PLUGIN = (
    "there are no task plugins. Do in the task what one would do around it; Ray itself is there already."
)
_BUILD = "build images with flyteray.build or `flyteray build`, which return the names that they have."
_POD = "Ray starts processes, not pods. Say with flyteray.Resources what a task needs."
_INSTEAD = {
    "Architecture": _BUILD,
    "ImageBuildEngine": _BUILD,
    "ImageBuilder": _BUILD,
    "ImageChecker": _BUILD,
    "RuntimeTaskTemplate": _PLUGIN,
    "TaskPluginRegistry": _PLUGIN,
    "download_code_bundle": "flyteray.remote.Run.get(name).download_code(folder) brings the code of a run.",
    "get_proto_extended_resources": _POD,
    "get_proto_resources": _POD,
    "pod_spec_from_resources": _POD,
}


def __getattr__(name: str) -> typing.Any:
    return _public.absent(__name__, name, _INSTEAD)
