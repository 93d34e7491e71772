"""The nodes of the cluster, and the requests that wait for them: Ray tells both in less than a millisecond."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import ray
from ray.core.generated import autoscaler_pb2

from flyteray._cluster import processes
from flyteray._plan.placement import ClusterView, Node

HEAD = "node:__internal_head__"  # a resource that only the head has


def look() -> ClusterView:
    """The connected cluster as it is now."""
    reply = autoscaler_pb2.GetClusterResourceStateReply()
    reply.ParseFromString(ray._private.worker.global_worker.gcs_client.get_cluster_resource_state())
    state = reply.cluster_resource_state
    living = [node for node in state.node_states if node.status != autoscaler_pb2.NodeStatus.DEAD]
    config = ray._private.state.state.get_cluster_config()
    groups = config.node_group_configs if config is not None else []
    return ClusterView(
        nodes=[
            Node(dict(node.total_resources), dict(node.available_resources), dict(node.labels))
            for node in living
        ],
        queued=[
            dict(pending.request.resources_bundle)
            for pending in state.pending_resource_requests
            for _ in range(pending.count)
        ],
        # Nodes that an autoscaler or Kubernetes made have a type; those of `ray start` have none.
        grows=bool(groups) or any(node.ray_node_type_name for node in living),
        lent=processes.MARK in os.environ and len(living) == 1,
        addable=[_boundless(group.resources) for group in groups if group.max_count],
    )


def addresses() -> dict[str, str]:
    """The addresses of the nodes that live, by id."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def head_address() -> str:
    """The address of the machine with the head."""
    return str(next(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"] and HEAD in n["Resources"]))


def own_address() -> str:
    """The address of the machine that this process is on, as the cluster knows it."""
    return str(ray.util.get_node_ip_address())


def session_folder() -> Path:
    """Where Ray keeps the sockets and logs of the connected cluster on this machine."""
    return Path(ray._private.worker._global_node.get_session_dir_path())


def _boundless(resources: Mapping[str, int]) -> dict[str, float]:
    return {name: math.inf if amount < 0 else float(amount) for name, amount in resources.items()}
