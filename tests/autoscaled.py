"""Ray nodes that Ray's own autoscaler starts and ends on one machine of a test, each with an address of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ray._private import parameter
from ray._private.node import Node as RayNode
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID, FakeMultiNodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

from tests.nodes import RAY_PORT, Node

HEAD_TYPE = "ray.head.default"
SOLD_OUT = "sold-out"  # a type of which no node ever comes
_COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
_ADDRESSES = [f"10.77.0.{number}" for number in range(101, 107)]


class Provider(FakeMultiNodeProvider):  # type: ignore[misc]  # Ray has no types for it
    """Ray's provider of nodes for laptops; its own gives all of them the head's address."""

    def _create_node_with_resources_and_labels(
        self, node_config: Any, tags: dict[str, str], count: int, resources: dict[str, float], labels: Any
    ) -> None:
        if tags[TAG_RAY_USER_NODE_TYPE] == SOLD_OUT:
            raise RuntimeError("There is none left.")
        with self.lock:
            name, address = self._next_hex_node_id(), _ADDRESSES[(self._next_node_id - 1) % len(_ADDRESSES)]
            rest = {
                kind: amount for kind, amount in resources.items() if kind not in ("CPU", "GPU", "memory")
            }
            params = parameter.RayParams(
                node_ip_address=address,
                min_worker_port=0,
                max_worker_port=0,
                dashboard_port=None,
                dashboard_agent_listen_port=0,
                num_cpus=resources.get("CPU", 0),
                num_gpus=resources.get("GPU", 0),
                memory=resources.get("memory"),
                object_store_memory=80_000_000,
                include_log_monitor=False,
                resources=rest,
                labels=labels,
                redis_address=self._gcs_address,
                gcs_address=self._gcs_address,
                env_vars={
                    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": name,
                    "RAY_CLOUD_INSTANCE_ID": name,
                    "RAY_NODE_TYPE_NAME": tags[TAG_RAY_USER_NODE_TYPE],
                    "RAY_OVERRIDE_RESOURCES": json.dumps(rest),
                },
            )
            node = RayNode(params, head=False, shutdown_at_exit=False, spawn_reaper=False)
            known = {
                TAG_RAY_NODE_KIND: NODE_KIND_WORKER,
                TAG_RAY_NODE_NAME: name,
                TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            }
            self._nodes[name] = {"tags": known | tags, "node": node}


def start_ray(machine: Node, folder: Path, types: dict[str, dict[str, Any]], idle_s: float) -> None:
    """Make a machine the head of a cluster whose autoscaler adds nodes of these types; ``folder`` is on it."""
    config = {
        "cluster_name": "test",
        "max_workers": len(_ADDRESSES),
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 100,
        "provider": {
            "type": "external",
            "module": f"{Provider.__module__}.{Provider.__name__}",
            "gcs_address": f"{machine.address}:{RAY_PORT}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
        },
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        **{f"{kind}_commands": [] for kind in _COMMANDS},
        "head_node_type": HEAD_TYPE,
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
            **{name: {"node_config": {}, "min_workers": 0, **each} for name, each in types.items()},
        },
    }
    file = folder / "autoscaler.json"
    file.write_text(json.dumps(config))
    for address in _ADDRESSES:
        added = machine.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        assert added.returncode == 0, added.stderr
    machine.start_ray(
        options=[f"--autoscaling-config=/tmp/shared/{file.name}"],
        env={
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "1",
            "RAY_NODE_TYPE_NAME": HEAD_TYPE,
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
        },
    )
