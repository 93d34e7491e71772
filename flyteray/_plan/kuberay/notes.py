"""Notes on manifests say what is left to people: secrets, labels of nodes, options that no manifest has a place for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flyteray._declare.environment import Environment
from flyteray._declare.images.image import Image
from flyteray._declare.tasks.task_environment import TaskEnvironment
from flyteray._plan.kuberay.manifests import ClusterOptions, cluster_name
from flyteray._plan.spec import AppSpec, EnvironmentSpec
from flyteray.app.environment import AppEnvironment

_NEW_KEY = "openssl rand -base64 32 | tr +/ -_"
_DATABASE = "postgresql+psycopg://USER:PASSWORD@HOST/NAME"


def notes(
    apps: Sequence[tuple[AppEnvironment, AppSpec]],
    tasks: Sequence[tuple[TaskEnvironment, EnvironmentSpec]],
    options: ClusterOptions,
) -> Iterator[str]:
    """What the manifests of an app leave to people, in sentences."""
    name = cluster_name(apps[-1][0], options)
    yield f"Once, before they are applied: {_secret_command(name, options.storage is not None)}"
    if options.storage:
        yield (
            f"The variables that {options.storage} is reached with, such as AWS_ACCESS_KEY_ID, are taken from a Secret "
            f"{name}-storage where there is one."
        )
    if options.url and options.url.startswith("https:"):
        yield (
            f"Something in front ends TLS for {options.url}: add FLYTERAY_TRUSTED_PROXIES to the head's env, with the "
            "addresses that its requests come from."
        )
    hosts = [host for _, spec in apps for host in [spec.host, spec.subdomain] if host]
    if hosts:
        yield f"Apps answer to host names of their own ({', '.join(hosts)}): what is in front has to let these through."
    described: list[tuple[Environment, EnvironmentSpec]] = [(env, spec.environment) for env, spec in apps]
    for env, spec in [*described, *tasks]:
        yield from _notes_on(env, spec, options)
    for app, plan in apps:
        if asking := [part.name for part in plan.parts if "ray_actor_options" in part.options]:
            yield (
                f"{type(app).__name__} {app.name!r} has deployments with hardware of their own ({', '.join(asking)}), "
                "and no pods are made for these: add workerGroupSpecs that have it."
            )
    if any(spec.environment.num_cpus or spec.environment.num_gpus for _, spec in apps):
        yield (
            "A new version of an app comes up beside the old one, on pods of its own: raise maxReplicas by as many as "
            "it needs, or stop the app first."
        )


def _notes_on(env: Environment, spec: EnvironmentSpec, options: ClusterOptions) -> Iterator[str]:
    who = f"{type(env).__name__} {env.name!r}"
    if isinstance(env, AppEnvironment) and not (spec.num_cpus or spec.num_gpus or spec.resources):
        yield (
            f"{who} asks for no CPUs, so its replicas share any pods that there are, and call for none: give it "
            "Resources(cpu=...)."
        )
    if spec.accelerator_type and not options.selector and "TPU" not in spec.resources:
        yield (
            f"{who} asks for {spec.accelerator_type}, which Kubernetes has no common word for: name the label of nodes "
            "that have it, such as --node-selector cloud.google.com/gke-accelerator=nvidia-tesla-t4."
        )
    if spec.secrets:
        named = ", ".join(secret.name for secret in spec.secrets)
        yield f"{who} asks for the secrets {named}: keep them on the cluster with `flyteray create secret`."
    if spec.image and spec.image.installs:
        lines = ", ".join(line for install in spec.image.installs for line in install.requirements)
        yield f"{who} has its packages ({lines}) installed in each pod when it starts there; an image can bring them."
    if isinstance(env.image, Image):
        for layer in env.image.layers:
            if layer.without_meaning:
                yield f"{who}: {layer.without_meaning} ({layer.content()}) must be in the pods' image."
    if spec.image and spec.image.container and options.image not in (None, spec.image.container):
        yield f"{who} asks for the container {spec.image.container}, and runs in {options.image}, which --image names."
    if isinstance(env.pod_template, str) or getattr(env.pod_template, "pod_spec", None) is not None:
        yield f"{who}: of its pod_template the labels and annotations are exported, not the pod's spec."
    if env.interruptible:
        yield f"{who} may run on nodes that vanish: --node-selector and tolerations of your cloud say which."


def _secret_command(name: str, bucket: bool) -> str:
    """The command that makes the Secret of a cluster's head: its registry is on the volume, or in a database."""
    made = f'kubectl create secret generic {name}-head --from-literal=FLYTERAY_SECRETS_KEY="$({_NEW_KEY})"'
    return f"{made} --from-literal=FLYTERAY_DATABASE={_DATABASE}" if bucket else made
