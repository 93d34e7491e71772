"""The nodes of the cluster, and the requests that wait for them: Ray tells both in less than a millisecond."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import ray
from ray.core.generated import autoscaler_pb2

from flyteray._cluster import node_types, processes
from flyteray._plan.placement import ClusterView, Node

HEAD = "node:__internal_head__"  # a resource that only the head has
_LEAVING = (autoscaler_pb2.NodeStatus.DEAD, autoscaler_pb2.NodeStatus.DRAINING)


def look() -> ClusterView:
    """The connected cluster as it is now."""
    reply = autoscaler_pb2.GetClusterStatusReply()
    reply.ParseFromString(ray._private.worker.global_worker.gcs_client.get_cluster_status())
    state = reply.cluster_resource_state
    # One that is being drained takes nothing new, and will be gone.
    staying = [node for node in state.node_states if node.status not in _LEAVING]
    there = Counter(node.ray_node_type_name for node in staying)
    types = node_types.known()
    return ClusterView(
        nodes=[
            Node(dict(node.total_resources), dict(node.available_resources), dict(node.labels))
            for node in staying
        ],
        queued=[
            dict(pending.request.resources_bundle)
            for pending in state.pending_resource_requests
            for _ in range(pending.count)
        ],
        # Nodes that an autoscaler or Kubernetes made have a type; those of `ray start` have none.
        grows=bool(types) or any(node.ray_node_type_name for node in staying),
        lent=processes.MARK in os.environ and len(staying) == 1,
        addable=[replace(each, most=max(0.0, each.most - there[each.name])) for each in types],
        refused=[
            dict(each.resources_bundle) for each in reply.autoscaling_state.infeasible_resource_requests
        ],
    )


def addresses() -> dict[str, str]:
    """The addresses of the nodes that live, by id."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def unused(ingress: str) -> set[str]:
    """The addresses of machines that an autoscaler could take away again, as nothing runs there.

    Actors whose names begin with ``ingress`` don't count, nor do tasks that ask for no resource at all. Of a cluster
    that does not grow, and of which no node is about to go, there are none.
    """
    reply = autoscaler_pb2.GetClusterResourceStateReply()
    reply.ParseFromString(ray._private.worker.global_worker.gcs_client.get_cluster_resource_state())
    living = [
        node
        for node in reply.cluster_resource_state.node_states
        if node.status != autoscaler_pb2.NodeStatus.DEAD
    ]
    leaving = any(node.status == autoscaler_pb2.NodeStatus.DRAINING for node in living)
    if not leaving and not any(node.ray_node_type_name for node in living):
        return set()
    used = {node.node_ip_address for node in living if _is_used(node)}
    if all(node.node_ip_address in used for node in living):
        return set()
    located = {node.node_id.hex(): node.node_ip_address for node in living}
    for state in ("PENDING_CREATION", "ALIVE"):
        for actor in ray._private.state.state.actor_table(None, actor_state_name=state).values():
            if not actor["Name"].startswith(ingress):
                used.add(located.get(actor["Address"]["NodeID"], ""))
    return {node.node_ip_address for node in living} - used


def _is_used(node: autoscaler_pb2.NodeState) -> bool:
    is_head = HEAD in node.total_resources
    takes = any(
        node.available_resources.get(name, 0.0) < total
        for name, total in node.total_resources.items()
        if name != "object_store_memory"
    )
    return is_head or takes


def head_address() -> str:
    """The address of the machine with the head."""
    return str(next(n["NodeManagerAddress"] for n in ray.nodes() if n["Alive"] and HEAD in n["Resources"]))


def own_address() -> str:
    """The address of the machine that this process is on, as the cluster knows it."""
    return str(ray.util.get_node_ip_address())


def session_folder() -> Path:
    """Where Ray keeps the sockets and logs of the connected cluster on this machine."""
    return Path(ray._private.worker._global_node.get_session_dir_path())
