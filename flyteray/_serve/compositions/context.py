"""The context that Ray Serve keeps for a process is made to be that of the user's object, not of what hosts it.

FastAPI's handlers of a class find their ``self`` there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flyteray._serve.compositions.internals import DeploymentID, ReplicaID, ReplicaRank, context, multiplex


def tell_of(servable: Any, config: Any) -> None:
    """Let the context of this replica be that of ``servable``, configured by ``config``, from now on."""
    own = {"servable_object": servable, "_deployment_config": config}
    set_context = context._set_internal_replica_context
    # Serve puts its own word there when the replica has started, and with each change.
    context._set_internal_replica_context = lambda **told: set_context(**told | own)
    context._INTERNAL_REPLICA_CONTEXT = replace(context._get_internal_replica_context(), **own)


def pretend(deployment: DeploymentID, servable: Any, config: Any) -> None:
    """Let there be a context in local mode, where Serve has no replica and no controller."""
    context._set_internal_replica_context(
        replica_id=ReplicaID(unique_id="local", deployment_id=deployment),
        servable_object=servable,
        _deployment_config=config,
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )
    multiplex._get_global_client = _NoController


class _NoController:
    """Stands for Serve's controller, which would be looked for, and Ray started for it."""

    def record_request_routing_info(self, info: object) -> None:
        """Nobody asks which replica has loaded which model."""
