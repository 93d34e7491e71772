"""A pod template is Kubernetes' word on a process, which Flyte's tasks and apps may give."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

_PRIMARY = "primary"


@dataclass
class PodTemplate:
    """The looks of a task's or an app's pod. There are no pods on Ray, so it changes nothing here and says so.

    Args:
        pod_spec: A ``kubernetes.client.V1PodSpec``.
        primary_container_name: The container that user code is to run in.
        labels, annotations: Of the pod.
    """

    pod_spec: Any = None
    primary_container_name: str = _PRIMARY
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None

    @classmethod
    def from_spec(
        cls,
        pod_spec: Any,
        *,
        primary_container_name: str | None = None,
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> PodTemplate:
        """A template with a copy of a pod's spec.

        Args:
            pod_spec: The spec.
            primary_container_name: Default: the container called ``primary``, or the only one.
            labels, annotations: Of the pod.

        Raises:
            ValueError: There is no such container, or nothing says which of several.
        """
        names = [getattr(container, "name", None) for container in pod_spec.containers or []]
        wanted = primary_container_name
        if wanted is None:
            wanted = names[0] if len(names) == 1 and _PRIMARY not in names else _PRIMARY
        if not wanted or wanted not in names:
            raise ValueError(
                f"The pod has no container {wanted!r} to be the primary one: it has {names}. Name one in "
                "primary_container_name."
            )
        return cls(
            copy.deepcopy(pod_spec), wanted, dict(labels or {}) or None, dict(annotations or {}) or None
        )

    def allow_fuse(self, privileged: bool = False) -> PodTemplate:
        """A copy; on Ray there is no pod to be allowed anything."""
        return copy.deepcopy(self)

    def allow_nested_sandboxing(self) -> PodTemplate:
        """A copy; on Ray there is no pod to nest anything in."""
        return copy.deepcopy(self)

    def with_termination_grace_period(self, termination_grace_period: int | timedelta) -> PodTemplate:
        """A copy; on Ray tasks and apps have times of their own to end in.

        Raises:
            TypeError: Neither an int of seconds nor a timedelta.
            ValueError: A negative time.
        """
        time = termination_grace_period
        if isinstance(time, bool) or not isinstance(time, (int, timedelta)):
            raise TypeError(
                f"termination_grace_period must be an int of seconds or a timedelta, got {time!r}."
            )
        if (time if isinstance(time, int) else time.total_seconds()) < 0:
            raise ValueError(f"termination_grace_period must not be negative, got {time!r}.")
        return copy.deepcopy(self)
