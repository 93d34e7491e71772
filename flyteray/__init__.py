"""flyteray: Flyte 2's tasks and apps on Ray. Train and serve in one Python code base."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from flyteray import _public
from flyteray._version import __version__, version

if TYPE_CHECKING:
    import logging

    from flyteray import app as app
    from flyteray import config as config
    from flyteray import errors as errors
    from flyteray import git as git
    from flyteray import io as io
    from flyteray import models as models
    from flyteray import remote as remote
    from flyteray._client.apps.handle import AppHandle
    from flyteray._client.apps.serve import serve, with_servecontext
    from flyteray._client.build import ImageCache, build, build_images
    from flyteray._client.deploy import deploy
    from flyteray._client.runs.run import run, with_runcontext
    from flyteray._client.session.init import init
    from flyteray._client.session.init_from import (
        init_from_api_key,
        init_from_config,
        init_in_cluster,
        init_passthrough,
    )
    from flyteray._client.session.owner import current_domain, current_project, is_control_plane_available
    from flyteray._declare.context import ctx, custom_context, get_custom_context, group
    from flyteray._declare.device import (
        AMD_GPU,
        APPLE_SILICON,
        GPU,
        HABANA_GAUDI,
        TPU,
        Device,
        DeviceClass,
        Neuron,
    )
    from flyteray._declare.environment import Environment
    from flyteray._declare.images.image import Image, ImageBuild
    from flyteray._declare.options.cache import Cache, CachePolicy, CacheRequest
    from flyteray._declare.options.documentation import Documentation, Link
    from flyteray._declare.options.pod import PodTemplate
    from flyteray._declare.options.reuse import ReusePolicy
    from flyteray._declare.options.timeout import Timeout, TimeoutType
    from flyteray._declare.options.trigger import (
        Cron,
        FixedRate,
        OnArtifact,
        Trigger,
        TriggeredArtifact,
        TriggeredPartition,
        TriggerTime,
    )
    from flyteray._declare.resources import Resources
    from flyteray._declare.secret import Secret, SecretRequest
    from flyteray._declare.tasks.retry import Backoff, RetryStrategy
    from flyteray._declare.tasks.task import AsyncFunctionTaskTemplate, Task, TaskTemplate
    from flyteray._declare.tasks.task_environment import TaskEnvironment

    logger: logging.Logger
    system_logger: logging.Logger

# Each is imported when it is first asked for: who declares tasks needs no verb, the command's help neither.
_LATER = {
    "flyteray._client.build": ("ImageCache", "build", "build_images"),
    "flyteray._client.session.owner": ("current_domain", "current_project", "is_control_plane_available"),
    "flyteray._client.deploy": ("deploy",),
    "flyteray._client.apps.handle": ("AppHandle",),
    "flyteray._client.session.init": ("init",),
    "flyteray._client.session.init_from": (
        "init_from_api_key",
        "init_from_config",
        "init_in_cluster",
        "init_passthrough",
    ),
    "flyteray._client.runs.run": ("run", "with_runcontext"),
    "flyteray._client.apps.serve": ("serve", "with_servecontext"),
    "flyteray._declare.context": ("ctx", "custom_context", "get_custom_context", "group"),
    "flyteray._declare.device": (
        "AMD_GPU",
        "APPLE_SILICON",
        "GPU",
        "HABANA_GAUDI",
        "TPU",
        "Device",
        "DeviceClass",
        "Neuron",
    ),
    "flyteray._declare.environment": ("Environment",),
    "flyteray._declare.images.image": ("Image", "ImageBuild"),
    "flyteray._declare.options.cache": ("Cache", "CachePolicy", "CacheRequest"),
    "flyteray._declare.options.pod": ("PodTemplate",),
    "flyteray._declare.options.reuse": ("ReusePolicy",),
    "flyteray._declare.options.documentation": ("Documentation", "Link"),
    "flyteray._declare.options.timeout": ("Timeout", "TimeoutType"),
    "flyteray._declare.options.trigger": (
        "Cron",
        "FixedRate",
        "OnArtifact",
        "Trigger",
        "TriggeredArtifact",
        "TriggeredPartition",
        "TriggerTime",
    ),
    "flyteray._declare.resources": ("Resources",),
    "flyteray._declare.tasks.retry": ("Backoff", "RetryStrategy"),
    "flyteray._declare.secret": ("Secret", "SecretRequest"),
    "flyteray._declare.tasks.task": ("AsyncFunctionTaskTemplate", "Task", "TaskTemplate"),
    "flyteray._declare.tasks.task_environment": ("TaskEnvironment",),
}
_PACKAGES = ("app", "config", "errors", "git", "io", "models", "remote")

__all__ = [
    "AMD_GPU",
    "APPLE_SILICON",
    "GPU",
    "HABANA_GAUDI",
    "TPU",
    "AppHandle",
    "AsyncFunctionTaskTemplate",
    "Backoff",
    "Cache",
    "CachePolicy",
    "CacheRequest",
    "Cron",
    "Device",
    "DeviceClass",
    "Documentation",
    "Environment",
    "FixedRate",
    "Image",
    "ImageBuild",
    "ImageCache",
    "Link",
    "Neuron",
    "OnArtifact",
    "PodTemplate",
    "Resources",
    "RetryStrategy",
    "ReusePolicy",
    "Secret",
    "SecretRequest",
    "Task",
    "TaskEnvironment",
    "TaskTemplate",
    "Timeout",
    "TimeoutType",
    "Trigger",
    "TriggerTime",
    "TriggeredArtifact",
    "TriggeredPartition",
    "__version__",
    "build",
    "build_images",
    "ctx",
    "current_domain",
    "current_project",
    "custom_context",
    "deploy",
    "get_custom_context",
    "group",
    "init",
    "init_from_api_key",
    "init_from_config",
    "init_in_cluster",
    "init_passthrough",
    "is_control_plane_available",
    "logger",
    "run",
    "serve",
    "system_logger",
    "version",
    "with_runcontext",
    "with_servecontext",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})


if not TYPE_CHECKING:  # a type checker sees the imports above, and so also what is not there

    def __getattr__(name: str) -> object:
        if name in _PACKAGES:
            return importlib.import_module(f"flyteray.{name}")
        if name in ("logger", "system_logger"):
            logging = importlib.import_module("flyteray._logging")
            return logging.user_logger() if name == "logger" else logging.system_logger()
        for module, names in _LATER.items():
            if name in names:
                found = getattr(importlib.import_module(module), name)
                globals()[name] = found
                _public.adopt(__name__, {name: found})
                return found
        raise AttributeError(f"module 'flyteray' has no attribute {name!r}")
