"""A pod of a RayCluster: its container, its probes, and how flyteray starts on the head.

Its probes ask for Ray alone. A worker has an ingress only while something runs on it, and KubeRay begins no job before
all pods are ready: the job that serves the first app would wait for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flyteray._plan.kuberay.hardware import PodHardware

PORT = 8080  # of the head's ingress, which takes the requests
HEAD = PodHardware(
    requests={"cpu": "2", "memory": "8Gi"},
    limits={"memory": "8Gi"},
    ray={"CPU": "0", "memory": "4Gi"},  # what needs CPUs runs in the workers' pods
)

_AGENT_PORT = 52365
_VOLUME = "storage"
_GROUP = 1000  # of the user in the images of Ray and of clusters/Dockerfile: volumes belong to root otherwise
# The log of the pod is where people look, and the hook's own output is shown nowhere.
_START = (
    "exec >/proc/1/fd/1 2>&1; until ray health-check --address 127.0.0.1:6379; do sleep 1; done; flyteray up"
)


@dataclass(frozen=True)
class PodSettings:
    """What all pods of a cluster share.

    Attributes:
        image: The URI of the container image.
        variables: Environment variables.
        volume: The claim of the shared volume, and where it is mounted; None where the storage is a bucket.
        secret: The Secret with variables of the head alone.
        credentials: The Secret with variables that reach the storage, which may be missing.
    """

    image: str
    variables: Mapping[str, str]
    secret: str
    credentials: str
    volume: tuple[str, str] | None = None


@dataclass(frozen=True)
class PodLooks:
    """What is said of an environment's pods beyond hardware; ``selector`` are labels of their Kubernetes nodes."""

    service_account: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    selector: Mapping[str, str] = field(default_factory=dict)


def head_template(settings: PodSettings) -> dict[str, Any]:
    """The head's pod: it is ready when Ray is, and flyteray has been started, for which Kubernetes waits first."""
    container = {
        **_container("ray-head", settings, HEAD, (settings.secret, settings.credentials)),
        "ports": [_port(6379, "gcs-server"), _port(8265, "dashboard"), _port(PORT, "http")],
        "lifecycle": {"postStart": {"exec": {"command": ["bash", "-c", _START]}}},
    }
    return {"spec": {"containers": [container], **_volumes(settings)}}


def worker_template(settings: PodSettings, hardware: PodHardware, looks: PodLooks) -> dict[str, Any]:
    """A worker's pod: it takes requests from the head's ingress only."""
    container = _container("ray-worker", settings, hardware, (settings.credentials,))
    selector = {**hardware.selector, **looks.selector}
    # Nodes with accelerators are kept for those who ask for these.
    tolerations = [{"key": device, "operator": "Exists"} for device in hardware.devices]
    spec = {
        "containers": [container],
        **_volumes(settings),
        **({"nodeSelector": selector} if selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        **({"serviceAccountName": looks.service_account} if looks.service_account else {}),
    }
    described = {"labels": dict(looks.labels), "annotations": dict(looks.annotations)}
    metadata = {name: value for name, value in described.items() if value}
    return {**({"metadata": metadata} if metadata else {}), "spec": spec}


def _container(
    name: str, settings: PodSettings, hardware: PodHardware, secrets: tuple[str, ...]
) -> dict[str, Any]:
    mounts = {"volumeMounts": [{"name": _VOLUME, "mountPath": settings.volume[1]}]} if settings.volume else {}
    return {
        "name": name,
        "image": settings.image,
        "resources": {"requests": dict(hardware.requests), "limits": dict(hardware.limits)},
        "env": [{"name": each, "value": value} for each, value in settings.variables.items()],
        "envFrom": [
            {"secretRef": {"name": each, **({"optional": True} if each == settings.credentials else {})}}
            for each in secrets
        ],
        **mounts,
        "startupProbe": {**_healthy(), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 60},
        "livenessProbe": {**_healthy(), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        # It fails no sooner than the one before: an ingress serves on while Ray in its pod is busy.
        "readinessProbe": {**_healthy(), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 12},
    }


def _healthy() -> dict[str, Any]:
    """Ray's own check: the raylet, and on the head the GCS."""
    return {"httpGet": {"path": "/api/healthz", "port": _AGENT_PORT}}


def _port(number: int, name: str) -> dict[str, Any]:
    return {"containerPort": number, "name": name}


def _volumes(settings: PodSettings) -> dict[str, Any]:
    if settings.volume is None:
        return {}
    claim = {"name": _VOLUME, "persistentVolumeClaim": {"claimName": settings.volume[0]}}
    return {"securityContext": {"fsGroup": _GROUP}, "volumes": [claim]}
