"""flyteray: Flyte 2's tasks and apps on Ray. Train and serve in one Python code base."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from flyteray import _public
from flyteray._version import __version__ as __version__
from flyteray._version import version as version

if TYPE_CHECKING:
    import logging

    from flyteray import ai as ai
    from flyteray import app as app
    from flyteray import artifacts as artifacts
    from flyteray import clustered as clustered
    from flyteray import config as config
    from flyteray import connectors as connectors
    from flyteray import durable as durable
    from flyteray import errors as errors
    from flyteray import extend as extend
    from flyteray import extras as extras
    from flyteray import git as git
    from flyteray import io as io
    from flyteray import models as models
    from flyteray import notify as notify
    from flyteray import prefetch as prefetch
    from flyteray import remote as remote
    from flyteray import report as report
    from flyteray import sandbox as sandbox
    from flyteray import storage as storage
    from flyteray import syncify as syncify
    from flyteray import types as types
    from flyteray._client.apps.handle import AppHandle as AppHandle
    from flyteray._client.apps.serve import serve as serve
    from flyteray._client.apps.serve import with_servecontext as with_servecontext
    from flyteray._client.build import ImageCache as ImageCache
    from flyteray._client.build import build as build
    from flyteray._client.build import build_images as build_images
    from flyteray._client.deploy import deploy as deploy
    from flyteray._client.maps.map import map as map
    from flyteray._client.runs.condition import new_condition as new_condition
    from flyteray._client.runs.run import rerun as rerun
    from flyteray._client.runs.run import run as run
    from flyteray._client.runs.run import with_runcontext as with_runcontext
    from flyteray._client.session.init import init as init
    from flyteray._client.session.init_from import init_from_api_key as init_from_api_key
    from flyteray._client.session.init_from import init_from_config as init_from_config
    from flyteray._client.session.init_from import init_in_cluster as init_in_cluster
    from flyteray._client.session.init_from import init_passthrough as init_passthrough
    from flyteray._client.session.owner import current_domain as current_domain
    from flyteray._client.session.owner import current_project as current_project
    from flyteray._client.session.owner import is_control_plane_available as is_control_plane_available
    from flyteray._declare.checkpoint import BaseCheckpoint as BaseCheckpoint
    from flyteray._declare.context import ctx as ctx
    from flyteray._declare.context import custom_context as custom_context
    from flyteray._declare.context import get_custom_context as get_custom_context
    from flyteray._declare.context import group as group
    from flyteray._declare.device import AMD_GPU as AMD_GPU
    from flyteray._declare.device import APPLE_SILICON as APPLE_SILICON
    from flyteray._declare.device import GPU as GPU
    from flyteray._declare.device import HABANA_GAUDI as HABANA_GAUDI
    from flyteray._declare.device import TPU as TPU
    from flyteray._declare.device import Device as Device
    from flyteray._declare.device import DeviceClass as DeviceClass
    from flyteray._declare.device import Neuron as Neuron
    from flyteray._declare.environment import Environment as Environment
    from flyteray._declare.images.image import Image as Image
    from flyteray._declare.images.image import ImageBuild as ImageBuild
    from flyteray._declare.options.cache import Cache as Cache
    from flyteray._declare.options.cache import CachePolicy as CachePolicy
    from flyteray._declare.options.cache import CacheRequest as CacheRequest
    from flyteray._declare.options.condition import ConditionWebhook as ConditionWebhook
    from flyteray._declare.options.documentation import Documentation as Documentation
    from flyteray._declare.options.documentation import Link as Link
    from flyteray._declare.options.pod import PodTemplate as PodTemplate
    from flyteray._declare.options.reuse import ReusePolicy as ReusePolicy
    from flyteray._declare.options.schedule import Cron as Cron
    from flyteray._declare.options.schedule import FixedRate as FixedRate
    from flyteray._declare.options.timeout import Timeout as Timeout
    from flyteray._declare.options.timeout import TimeoutType as TimeoutType
    from flyteray._declare.options.trigger import OnArtifact as OnArtifact
    from flyteray._declare.options.trigger import Trigger as Trigger
    from flyteray._declare.options.trigger import TriggeredArtifact as TriggeredArtifact
    from flyteray._declare.options.trigger import TriggeredPartition as TriggeredPartition
    from flyteray._declare.options.trigger import TriggerTime as TriggerTime
    from flyteray._declare.resources import Resources as Resources
    from flyteray._declare.secret import Secret as Secret
    from flyteray._declare.secret import SecretRequest as SecretRequest
    from flyteray._declare.tasks.retry import Backoff as Backoff
    from flyteray._declare.tasks.retry import RetryStrategy as RetryStrategy
    from flyteray._declare.tasks.task import AsyncFunctionTaskTemplate as AsyncFunctionTaskTemplate
    from flyteray._declare.tasks.task import Task as Task
    from flyteray._declare.tasks.task import TaskTemplate as TaskTemplate
    from flyteray._declare.tasks.task_environment import TaskEnvironment as TaskEnvironment
    from flyteray._declare.tasks.trace import trace as trace
    from flyteray.io.checkpoint import Checkpoint as Checkpoint
    from flyteray.io.checkpoint import latest_checkpoint as latest_checkpoint

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
    "flyteray._client.maps.map": ("map",),
    "flyteray._client.runs.condition": ("new_condition",),
    "flyteray._client.runs.run": ("rerun", "run", "with_runcontext"),
    "flyteray._declare.options.condition": ("ConditionWebhook",),
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
    "flyteray._declare.options.schedule": ("Cron", "FixedRate"),
    "flyteray._declare.options.trigger": (
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
    "flyteray._declare.tasks.trace": ("trace",),
    "flyteray._declare.checkpoint": ("BaseCheckpoint",),
    "flyteray.io.checkpoint": ("Checkpoint", "latest_checkpoint"),
}
_PACKAGES = (
    "ai",
    "app",
    "artifacts",
    "clustered",
    "config",
    "connectors",
    "durable",
    "errors",
    "extend",
    "extras",
    "git",
    "io",
    "models",
    "notify",
    "prefetch",
    "remote",
    "report",
    "sandbox",
    "storage",
    "syncify",
    "types",
)
_INSTEAD = {
    "load_interactive_ctx": "tasks run on Ray, whose debugger (`ray debug`) attaches to one that runs.",
    "load_plugin_config": "there are no task plugins. Do in the task what one would do around it.",
    "run_python_script": "put what the script does into a function with @env.task, or run the script in a task with "
    "subprocess.run([sys.executable, script], check=True), the script being in the environment's include.",
}

_LOGGERS = ("logger", "system_logger")

__all__ = ["__version__", "version", *_LOGGERS, *(name for names in _LATER.values() for name in names)]
__all__.sort(key=lambda name: (not name.isupper(), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_PACKAGES})


if not TYPE_CHECKING:  # a type checker sees the imports above, and so also what is not there

    def __getattr__(name: str) -> object:
        if name in _PACKAGES:
            return importlib.import_module(f"flyteray.{name}")
        if name in _LOGGERS:
            logging = importlib.import_module("flyteray._logging")
            return logging.user_logger() if name == "logger" else logging.system_logger()
        for module, names in _LATER.items():
            if name in names:
                found = getattr(importlib.import_module(module), name)
                globals()[name] = found
                _public.adopt(__name__, {name: found})
                return found
        return _public.absent(__name__, name, _INSTEAD)
