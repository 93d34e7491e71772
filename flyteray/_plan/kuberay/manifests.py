"""An app becomes the manifests of a cluster of its own: its pods, its Service, and the job that serves it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flyteray import _place
from flyteray._declare.environment import Environment
from flyteray._declare.options.pod import PodTemplate
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan.kuberay.hardware import PodHardware, pod_hardware
from flyteray._plan.kuberay.labels import check_labels, check_names
from flyteray._plan.kuberay.pods import HEAD, PORT, PodLooks, PodSettings, head_template, worker_template
from flyteray._plan.kuberay.sources import Sources
from flyteray._plan.spec import AppSpec, EnvironmentSpec
from flyteray._version import __version__
from flyteray.app.environment import AppEnvironment

Manifest = dict[str, Any]

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,36}[a-z0-9])?")
_IMAGE = re.compile(r"[A-Za-z0-9][\w./:@-]*")
_URL = re.compile(r"https?://([\w.-]|\{app\})+(:\d+)?(/[\w./{}-]*)?", re.ASCII)
_MOUNT = "/flyteray"
_CODE = "/code"
_IDLE_S = 60
_LONGEST_LABEL = 63
_LONGEST_KEY = 240  # 253 of which some are for a number
_HEADS = "headgroup"  # what the head's own group is called


@dataclass(frozen=True)
class ClusterOptions:
    """What is said of the cluster beside the app.

    Attributes:
        ray: The version of Ray in the image.
        name: Of the cluster and all that belongs to it; None: the app's.
        image: The URI of the pods' container image; None: the container that the app asks for, or what
            ``clusters/Dockerfile`` makes.
        storage: The URL of a bucket; None: a volume that all pods share.
        url: The address that people reach the apps by, through a load balancer or a Gateway.
        selector: Labels of the Kubernetes nodes for pods of environments with accelerators.
        task_pods: The most pods for the tasks of one environment.

    Raises:
        ValueError: a name that KubeRay does not take, no image, no address, a storage that is no bucket, or what can't
            be a label.
    """

    ray: str
    name: str | None = None
    image: str | None = None
    storage: str | None = None
    url: str | None = None
    selector: dict[str, str] = field(default_factory=dict)
    task_pods: int = 10

    def __post_init__(self) -> None:
        if self.name is not None:
            _checked(self.name)
        if self.image is not None and not _IMAGE.fullmatch(self.image):
            raise ValueError(f"{self.image!r} is no container image: write registry/name:tag.")
        if self.url is not None and not _URL.fullmatch(self.url):
            raise ValueError(f"{self.url!r} is no address for apps: write it as https://apps.example.com.")
        if self.storage is not None and _place.root(self.storage).startswith("/"):
            raise ValueError(
                f"{self.storage!r} is no bucket: name one, such as s3://bucket/prefix, or leave it out: then the pods "
                "share a volume."
            )
        check_labels("--node-selector", self.selector)


def manifests(
    apps: Sequence[tuple[AppEnvironment, AppSpec]],
    tasks: Sequence[tuple[TaskEnvironment, EnvironmentSpec]],
    sources: Sources,
    options: ClusterOptions,
) -> list[Manifest]:
    """The manifests of the last of some apps, with those that it depends on and the tasks that they may call.

    They are in the order in which they are to be applied.

    ValueError where a pod can't have the hardware or the labels, two environments need different containers, or the
    app's name can't be the cluster's.
    """
    name = cluster_name(apps[-1][0], options)
    settings = _settings(name, _image(apps, tasks, options), options)
    groups = []
    for app, spec in apps:
        bounds = app.scaling.widest()
        hardware = pod_hardware(app, spec.environment, bounds[1])
        groups.append(_group(app.name, app, hardware, bounds, settings, options))
    for env, needed in tasks:
        hardware = pod_hardware(env, needed)
        most = options.task_pods * hardware.holds * hardware.hosts
        groups.append(_group(f"{env.name}-tasks", env, hardware, (0, most), settings, options))
    named = [group["groupName"] for group in groups]
    if twice := sorted({each for each in named if named.count(each) > 1}):
        raise ValueError(f"Two environments would have the pods {twice[0]!r}: rename one.")
    made = [
        *([_claim(name)] if settings.volume else []),
        *([_code(name, sources)] if sources.contents else []),
        _cluster(name, groups, settings, options),
        _service(name),
    ]
    return [*made, _job(name, made, sources, settings)]


def cluster_name(app: AppEnvironment, options: ClusterOptions) -> str:
    """The name of the cluster of an app; ValueError where the app's can't be one and no other is given."""
    return options.name or _checked(app.name)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} can't be a cluster's name: KubeRay takes at most 38 lower-case letters, digits and -, a letter "
            "first. Give another with --name."
        )
    return name


def _image(
    apps: Sequence[tuple[AppEnvironment, AppSpec]],
    tasks: Sequence[tuple[TaskEnvironment, EnvironmentSpec]],
    options: ClusterOptions,
) -> str:
    """The image of all pods: any of them may run a replica of any app."""
    images = {app.name: spec.environment.image for app, spec in apps}
    images |= {env.name: spec.image for env, spec in tasks}
    asked = {name: image.container for name, image in images.items() if image and image.container}
    if options.image is None and len(set(asked.values())) > 1:
        told = ", ".join(f"{name!r} runs in {container}" for name, container in asked.items())
        raise ValueError(
            f"These environments need different containers ({told}), and all pods of a cluster run one image: build "
            "one that has what each needs, and name it with --image."
        )
    return options.image or next(iter(asked.values()), f"flyteray:{__version__}")


def _settings(name: str, image: str, options: ClusterOptions) -> PodSettings:
    variables = {
        "FLYTERAY_HOST": "0.0.0.0",
        "FLYTERAY_PORT": str(PORT),
        "FLYTERAY_INGRESS": "head",
        "FLYTERAY_STORAGE": options.storage or f"{_MOUNT}/storage",
        "FLYTERAY_CONTAINER": image,
    }
    if options.url:
        variables["FLYTERAY_URL"] = options.url
    volume = None if options.storage else (f"{name}-storage", _MOUNT)
    return PodSettings(image, variables, f"{name}-head", f"{name}-storage", volume)


def _group(
    name: str,
    env: Environment,
    hardware: PodHardware,
    replicas: tuple[int, int],
    settings: PodSettings,
    options: ClusterOptions,
) -> Manifest:
    """The pods of an environment, between the numbers that its replicas need."""
    template = env.pod_template if isinstance(env.pod_template, PodTemplate) else PodTemplate()
    labels, annotations = template.labels or {}, template.annotations or {}
    who = f"The pod_template of {type(env).__name__} {env.name!r}"
    check_labels(who, labels)
    check_names(who, "annotation", annotations)
    looks = PodLooks(env.service_account, labels, annotations, options.selector if hardware.devices else {})
    least, most = (hardware.groups(number) for number in replicas)
    return {
        "groupName": _group_name(name),
        "replicas": least,
        "minReplicas": least,
        "maxReplicas": most,
        **({"numOfHosts": hardware.hosts} if hardware.hosts > 1 else {}),
        "rayStartParams": {},
        "resources": dict(hardware.ray),
        **({"labels": dict(hardware.labels)} if hardware.labels else {}),
        "template": worker_template(settings, hardware, looks),
    }


def _group_name(name: str) -> str:
    """The name of the group of an environment's pods, which is a label of theirs and can't be that of the head's."""
    made = name.replace("_", "-")
    if len(made) > _LONGEST_LABEL or made == _HEADS:
        made = f"{made[: _LONGEST_LABEL - 9]}-{hashlib.sha256(made.encode()).hexdigest()[:8]}"
    return made


def _cluster(name: str, groups: list[Manifest], settings: PodSettings, options: ClusterOptions) -> Manifest:
    grows = any(group["minReplicas"] != group["maxReplicas"] for group in groups)
    scaling = {"autoscalerOptions": {"version": "v2", "idleTimeoutSeconds": _IDLE_S}} if grows else {}
    spec = {
        "rayVersion": options.ray,
        "authOptions": {"mode": "token"},
        "enableInTreeAutoscaling": grows,
        **scaling,
        "headGroupSpec": {
            "rayStartParams": {},
            "resources": dict(HEAD.ray),
            "template": head_template(settings),
        },
        "workerGroupSpecs": groups,
    }
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": name}, "spec": spec}


def _service(name: str) -> Manifest:
    """Requests go to the head's pod, which always has an ingress; that knows where the app is."""
    spec = {
        "selector": {"ray.io/cluster": name, "ray.io/node-type": "head"},
        "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{name}-apps"}, "spec": spec}


def _claim(name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{name}-storage"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "resources": {"requests": {"storage": "100Gi"}},
        },
    }


def _code(name: str, sources: Sources) -> Manifest:
    """The files under keys that a ConfigMap can have."""
    text: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, (_, content) in _keys(sources).items():
        try:
            text[key] = content.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(content).decode()
    data = {**({"data": text} if text else {}), **({"binaryData": binary} if binary else {})}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-code"}, **data}


def _keys(sources: Sources) -> dict[str, tuple[str, bytes]]:
    """The files by key: their place with what no key may hold replaced, and a number where that is taken."""
    found: dict[str, tuple[str, bytes]] = {}
    for place, content in sources.contents.items():
        key = re.sub(r"[^A-Za-z0-9._-]", "_", place)[-_LONGEST_KEY:]
        found[f"{len(found)}_{key}" if key in found else key] = (place, content)
    return found


def _job(name: str, made: list[Manifest], sources: Sources, settings: PodSettings) -> Manifest:
    """The job that serves the app, named by what it serves: other code or another cluster is another job."""
    content = json.dumps([made, sources.command], sort_keys=True).encode()
    container: Manifest = {"name": "ray-job-submitter", "image": settings.image}
    pod: Manifest = {"restartPolicy": "Never", "containers": [container]}
    environment = {}
    if sources.contents:
        container["volumeMounts"] = [{"name": "code", "mountPath": _CODE}]
        items = [{"key": key, "path": place} for key, (place, _) in _keys(sources).items()]
        pod["volumes"] = [{"name": "code", "configMap": {"name": f"{name}-code", "items": items}}]
        # Kubernetes keeps the files a second time, in a folder whose name begins so.
        environment = {"runtimeEnvYAML": f'working_dir: {_CODE}\nexcludes: ["/..*"]\n'}
    spec = {
        "clusterSelector": {"ray.io/cluster": name},
        "submissionMode": "K8sJobMode",
        "entrypoint": sources.command,
        **environment,
        "submitterPodTemplate": {"spec": pod},
    }
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": f"{name}-{hashlib.sha256(content).hexdigest()[:8]}"},
        "spec": spec,
    }
