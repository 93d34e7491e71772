"""The environment variables that processes of the cluster are started with: kept by their hash, beside Ray.

Ray expands ``$NAME`` in those of a ``runtime_env``, shows them to everybody who may look at its state, and has children
inherit them. So a command that starts a process names them by their hash alone; the node has them in a file that only
its user can read, and the cluster has them for nodes that don't.

As a program (``python -m flyteray._cluster.workers.variables KEY …``) it fetches them.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from flyteray import _private

_NAMESPACE = b"flyteray-variables"

# Ray says which accelerators a process sees while it starts, and counts on what it finds there. The user's word holds
# from then on.
_ACCELERATORS = {
    "ASCEND_RT_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "FURIOSA_DEVICES",
    "HABANA_VISIBLE_MODULES",
    "HIP_VISIBLE_DEVICES",
    "NEURON_RT_VISIBLE_CORES",
    "ONEAPI_DEVICE_SELECTOR",
    "QBRUNTIME_VISIBLE_DEVICES",
    "RBLN_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "TPU_VISIBLE_CHIPS",
    "TT_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
}


def key_of(variables: Mapping[str, str]) -> str:
    """The name under which variables are kept."""
    return hashlib.sha256(_packed(variables)).hexdigest()[:24]


def keep(variables: Mapping[str, str]) -> str:
    """Keep variables for processes that are started with them, on whichever node; their key."""
    from ray.experimental import internal_kv  # deferred: fetching them does with less

    key, data = key_of(variables), _packed(variables)
    internal_kv._internal_kv_put(key.encode(), data, overwrite=True, namespace=_NAMESPACE)
    _write(key, data)
    return key


def _packed(variables: Mapping[str, str]) -> bytes:
    at_start = {name: value for name, value in sorted(variables.items()) if name not in _ACCELERATORS}
    return json.dumps(at_start).encode()


def _write(key: str, data: bytes) -> None:
    cache = Path(os.environ.get("FLYTERAY_CACHE", tempfile.gettempdir()))
    _private.replace(_private.folder(cache / f"flyteray-variables-{os.getuid()}") / key, data)


def _fetch(key: str, address: str) -> None:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]  # deferred: keeping them does with less

    data = GcsClient(address=address).internal_kv_get(key.encode(), _NAMESPACE)
    if data is None:
        sys.exit("The cluster has forgotten the environment variables of this process.")
    _write(key, data)


def main(arguments: list[str]) -> None:
    """Fetch the variables that the first argument names, from the cluster that the others, which are Ray's, name."""
    key, *rays = arguments
    option = "--gcs-address="
    _fetch(key, next(word.removeprefix(option) for word in rays if word.startswith(option)))


if __name__ == "__main__":
    main(sys.argv[1:])
