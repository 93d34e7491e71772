"""Manifests are checked: against KubeRay's schemas where these are, and by Ray's own reader of them everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

ROOT = Path(__file__).parents[1]
# They are half a megabyte and not ours, so they lie beside a checkout.
SCHEMAS = ROOT.parent / "shared" / "kuberay"
HAS_SCHEMAS = SCHEMAS.is_dir()
_CORE = {
    ("v1", "Service"): {"apiVersion", "kind", "metadata", "spec"},
    ("v1", "PersistentVolumeClaim"): {"apiVersion", "kind", "metadata", "spec"},
    ("v1", "ConfigMap"): {"apiVersion", "kind", "metadata", "data", "binaryData"},
}


def mistakes(manifest: dict[str, Any]) -> list[str]:
    """What is wrong with a manifest, in words."""
    kind = manifest["kind"]
    if manifest["apiVersion"] != "ray.io/v1":
        known = _CORE.get((manifest["apiVersion"], kind))
        return [f"{kind} is not known here"] if known is None else sorted(set(manifest) - known)
    found = list(_schema_mistakes(manifest)) if HAS_SCHEMAS else []
    return found + _spec_mistakes(manifest)


def node_types(cluster: dict[str, Any]) -> dict[str, Any]:
    """The kinds of nodes that Ray's autoscaler reads from a RayCluster, by their names."""
    placed = {**cluster, "metadata": {"namespace": "default", **cluster["metadata"]}}
    types: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(placed)["available_node_types"]
    return types


def of_kind(manifests: Iterable[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The one manifest of a kind."""
    (found,) = [each for each in manifests if each["kind"] == kind]
    return found


def pods(manifests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The pods' specs of some manifests, those of submitters among them."""
    found = []
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if "submitterPodTemplate" in spec:
            found.append(spec["submitterPodTemplate"]["spec"])
        cluster = spec.get("rayClusterSpec", spec)
        if "headGroupSpec" in cluster:
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            found += [group["template"]["spec"] for group in groups]
    return found


def mounted(manifests: list[dict[str, Any]], folder: Path) -> None:
    """Lay the files of a ConfigMap out as Kubernetes does: in a hidden folder, with links to what is in it."""
    code, job = (of_kind(manifests, kind) for kind in ("ConfigMap", "RayJob"))
    (volume,) = job["spec"]["submitterPodTemplate"]["spec"]["volumes"]
    for item in volume["configMap"]["items"]:
        file = folder / "..2026_11_29" / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code["data"][item["key"]])
    (folder / "..data").symlink_to("..2026_11_29")
    for path in (folder / "..2026_11_29").iterdir():
        (folder / path.name).symlink_to(f"..data/{path.name}")


def _schema_mistakes(manifest: dict[str, Any]) -> Iterable[str]:
    schema = json.loads((SCHEMAS / f"{manifest['kind']}.v1.json").read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(manifest):
        yield f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def _spec_mistakes(manifest: dict[str, Any]) -> list[str]:
    """Names that lead nowhere: of volumes and of ports."""
    wrong = []
    for pod in pods([manifest]):
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            wrong += [f"no volume {name}" for name in sorted(mounted - volumes)]
            ports = {port["name"] for port in container.get("ports", [])}
            probes = [container[each] for each in container if each.endswith("Probe")]
            asked = [probe.get("tcpSocket", probe.get("httpGet", {})).get("port") for probe in probes]
            wrong += [f"no port {each}" for each in asked if isinstance(each, str) and each not in ports]
    return wrong
