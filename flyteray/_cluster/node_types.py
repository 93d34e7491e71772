"""The types of nodes that the cluster's autoscaler may add, as far as they can be learnt.

Some clusters keep them where every node can read them. That of ``ray up`` has them in a file on the head, from where
the controller makes them known to all.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import ray
import yaml
from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

from flyteray._plan.placement import NodeType

_KEY, _NAMESPACE = b"node-types", b"flyteray"
_OPTION = "--autoscaling-config="
_LOOK_S = 10.0  # from one look at the file to the next

logger = logging.getLogger(__name__)


def known() -> list[NodeType]:
    """The types of nodes of the connected cluster that may be added; none where they are not known."""
    config = ray._private.state.state.get_cluster_config()
    if config is not None and config.node_group_configs:
        return [
            NodeType(group.name, _amounts(group.resources), most=_most(group.max_count))
            for group in config.node_group_configs
            if group.max_count
        ]
    told = _internal_kv_get(_KEY, namespace=_NAMESPACE)
    return [NodeType(**each) for each in json.loads(told)] if told else []


def types_of(config: Mapping[str, Any]) -> list[NodeType]:
    """The types of nodes of an autoscaler's configuration that may be added, the head's own left out."""
    whole = config.get("max_workers", math.inf)
    return [
        NodeType(
            name=name,
            total=_amounts(kind["resources"]) if kind.get("resources") else None,
            labels=dict(kind.get("labels") or {}),
            most=most,
        )
        for name, kind in (config.get("available_node_types") or {}).items()
        if (most := min(whole, kind.get("max_workers", whole))) > 0 and name != config.get("head_node_type")
    ]


class Published:
    """The types that the autoscaler on this machine was given, made known to all nodes; already when this returns."""

    def __init__(self) -> None:
        self._file = _file(ray.get_runtime_context().gcs_address)
        self._told: list[NodeType] | None = None
        self._tell()

    async def follow(self) -> None:
        """Tell of changes, for as long as the process lives."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await asyncio.to_thread(self._tell)

    def _tell(self) -> None:
        try:
            types = types_of(yaml.safe_load(self._file.read_text())) if self._file is not None else []
            if types != self._told:
                value = json.dumps([vars(each) for each in types]).encode()
                _internal_kv_put(_KEY, value, namespace=_NAMESPACE)
                self._told = types
        except Exception:
            logger.exception("The autoscaler's configuration %s was not read; it is tried again", self._file)


def _file(address: str) -> Path | None:
    """The configuration of the autoscaler that runs on this machine for the cluster at that address."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if f"--gcs-address={address}" in words:
            for word in words:
                if word.startswith(_OPTION):
                    return Path(word.removeprefix(_OPTION)).expanduser()
    return None


def _amounts(resources: Mapping[str, float]) -> dict[str, float]:
    return {name: math.inf if amount < 0 else float(amount) for name, amount in resources.items()}


def _most(count: int) -> float:
    return math.inf if count < 0 else count
