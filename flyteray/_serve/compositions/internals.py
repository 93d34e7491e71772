"""The parts of Ray Serve that compositions need and that Ray does not promise to keep, in one place.

A release of Ray that moves one of them away is told of when a composition is declared or started; other apps go on.
"""

from __future__ import annotations

import ray

from flyteray.errors import RuntimeSystemError

try:
    from ray.serve import context, multiplex
    from ray.serve._private.build_app import build_app
    from ray.serve._private.common import DeploymentID, ReplicaID
    from ray.serve._private.constants import RAY_SERVE_RUN_SYNC_IN_THREADPOOL, SERVE_MULTIPLEXED_MODEL_ID
    from ray.serve._private.http_util import convert_object_to_asgi_messages
    from ray.serve._private.local_testing_mode import make_local_deployment_handle
    from ray.serve._private.replica import UserCallableWrapper
    from ray.serve._private.utils import _callable_uses_multiplexing as uses_multiplexing
    from ray.serve._private.utils import generate_request_id
    from ray.serve.context import _RequestContext as RequestContext
    from ray.serve.context import _serve_request_context as request_context
    from ray.serve.deployment import Application, Deployment, deployment_to_schema, schema_to_deployment
    from ray.serve.schema import ReplicaRank
except ImportError as error:
    raise RuntimeSystemError(
        "RayServeChanged",
        f"ServeAppEnvironment needs what Ray {ray.__version__} has no more, or not yet: {error}. It works with Ray "
        "2.60: install that, or a flyteray that knows this Ray.",
    ) from error

__all__ = [
    "RAY_SERVE_RUN_SYNC_IN_THREADPOOL",
    "SERVE_MULTIPLEXED_MODEL_ID",
    "Application",
    "Deployment",
    "DeploymentID",
    "ReplicaID",
    "ReplicaRank",
    "RequestContext",
    "UserCallableWrapper",
    "build_app",
    "context",
    "convert_object_to_asgi_messages",
    "deployment_to_schema",
    "generate_request_id",
    "make_local_deployment_handle",
    "multiplex",
    "request_context",
    "schema_to_deployment",
    "uses_multiplexing",
]
