"""flyteray: Flyte 2's tasks and apps on Ray. Train and serve in one Python code base."""

from flyteray._client.build import ImageCache, build, build_images
from flyteray._client.deploy import deploy
from flyteray._client.handle import AppHandle
from flyteray._client.init import init
from flyteray._client.run import run, with_runcontext
from flyteray._client.serve import serve, with_servecontext
from flyteray._declare.context import ctx
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
from flyteray._declare.image import Image, ImageBuild
from flyteray._declare.resources import Resources
from flyteray._declare.retry import Backoff, RetryStrategy
from flyteray._declare.secret import Secret, SecretRequest
from flyteray._declare.task import Task
from flyteray._declare.task_environment import TaskEnvironment

__all__ = [
    "AMD_GPU",
    "APPLE_SILICON",
    "GPU",
    "HABANA_GAUDI",
    "TPU",
    "AppHandle",
    "Backoff",
    "Device",
    "DeviceClass",
    "Environment",
    "Image",
    "ImageBuild",
    "ImageCache",
    "Neuron",
    "Resources",
    "RetryStrategy",
    "Secret",
    "SecretRequest",
    "Task",
    "TaskEnvironment",
    "build",
    "build_images",
    "ctx",
    "deploy",
    "init",
    "run",
    "serve",
    "with_runcontext",
    "with_servecontext",
]
