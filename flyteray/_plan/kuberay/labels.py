"""Labels and annotations that Kubernetes or KubeRay would not take are refused when manifests are made."""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEY = re.compile(
    r"(?=.{1,317}$)([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII
)
_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
_KUBERAYS_OWN = ("ray.io/cluster", "ray.io/group", "ray.io/node-type")


def check_labels(who: str, labels: Mapping[str, str]) -> None:
    """ValueError where one of these labels of ``who`` has a name or a value that Kubernetes does not take."""
    check_names(who, "label", labels)
    for name, value in labels.items():
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(
                f"{who}: the label {name!r} is {value!r}, and Kubernetes takes at most 63 letters, digits and - _ . as "
                "the value of one, with a letter or digit at both ends."
            )


def check_names(who: str, kind: str, named: Mapping[str, str]) -> None:
    """ValueError where a label or annotation of ``who`` has a name that Kubernetes does not take, or KubeRay's own."""
    for name in named:
        if not isinstance(name, str) or not _KEY.fullmatch(name):
            raise ValueError(
                f"{who}: {name!r} can't be the name of {'an' if kind[0] == 'a' else 'a'} {kind}. Kubernetes takes at "
                "most 63 letters, digits and - _ . with a letter or digit at both ends, behind a domain and / if any."
            )
        if name in _KUBERAYS_OWN:
            raise ValueError(f"{who}: the {kind} {name!r} is KubeRay's own; leave it out.")
