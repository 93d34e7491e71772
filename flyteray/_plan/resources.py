"""Declared hardware becomes what Ray is asked for."""

from __future__ import annotations

from typing import Protocol

from flyteray._declare.resources import Resources
from flyteray._declare.secret import Secret
from flyteray._plan.spec import EnvironmentSpec, SecretSpec

# Ray's words where they differ from Flyte's.
_RAY_ACCELERATORS = {
    "A100_80G": "A100-80G",
    "L40s": "L40S",
    "RTX_PRO_6000": "RTX-PRO-6000",
    "MI100": "AMD-Instinct-MI100",
    "MI210": "AMD-Instinct-MI210",
    "MI250": "AMD-Instinct-MI250X-MI250",
    "MI250X": "AMD-Instinct-MI250X",
    "MI300A": "AMD-Instinct-MI300A",
    "MI300X": "AMD-Instinct-MI300X-OAM",
    "MI325X": "AMD-Instinct-MI325X-OAM",
    "MI350X": "AMD-Instinct-MI350X-OAM",
    "MI355X": "AMD-Instinct-MI355X-OAM",
}


class Declared(Protocol):
    """A task or an environment."""

    @property
    def resources(self) -> Resources | None:
        """Its hardware."""

    @property
    def env_vars(self) -> dict[str, str] | None:
        """Its environment variables."""

    def secret_list(self) -> list[Secret]:
        """The secrets it asks for."""


def environment_spec(env: Declared, default_cpus: float) -> EnvironmentSpec:
    """What Ray is asked for on behalf of a task or an app's replica.

    Args:
        env: The task (its overrides count) or the app environment.
        default_cpus: CPUs where none are declared: 1 for tasks; 0 for apps, so that two versions fit side
            by side.
    """
    resources = env.resources or Resources()
    cpus = resources.cpu_request()
    device = resources.get_device()
    kind = device.device if device else None
    return EnvironmentSpec(
        env_vars=dict(env.env_vars or {}),
        num_cpus=default_cpus if cpus is None else cpus,
        num_gpus=device.quantity if device else 0,
        memory=resources.memory_request(),
        accelerator_type=None if kind is None else _RAY_ACCELERATORS.get(kind, kind),
        secrets=tuple(
            SecretSpec(
                key=secret.key,
                group=secret.group,
                env_var=secret.as_env_var,
                mount=None if secret.mount is None else str(secret.mount),
            )
            for secret in env.secret_list()
        ),
    )
