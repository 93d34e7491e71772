"""A webhook's endpoints have names and are in groups."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from flyteray.app.extras._webhook import apps, images, tasks


@dataclass(frozen=True)
class Endpoint:
    """One thing that a webhook does."""

    method: Literal["GET", "POST"]
    path: str
    handler: Callable[..., Any]


async def health() -> dict[str, str]:
    """Whether the webhook answers."""
    return {"status": "healthy"}


def me() -> dict[str, str]:
    """The user that the cluster runs as, in whose name everything here is done."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # containers may run as a user without a name
        name = str(os.getuid())
    return {"subject": name, "name": name}


GROUPS: dict[str, dict[str, Endpoint]] = {
    "core": {"health": Endpoint("GET", "/health", health), "me": Endpoint("GET", "/me", me)},
    "task": {
        "run_task": Endpoint("POST", "/run-task/{domain}/{project}/{name}", tasks.run_task),
        "get_task": Endpoint("GET", "/task/{domain}/{project}/{name}", tasks.get_task),
    },
    "run": {
        "get_run": Endpoint("GET", "/run/{name}", tasks.get_run),
        "get_run_io": Endpoint("GET", "/run/{name}/io", tasks.get_run_io),
        "abort_run": Endpoint("POST", "/run/{name}/abort", tasks.abort_run),
    },
    "app": {
        "get_app": Endpoint("GET", "/app/{name}", apps.get_app),
        "activate_app": Endpoint("POST", "/app/{name}/activate", apps.activate_app),
        "deactivate_app": Endpoint("POST", "/app/{name}/deactivate", apps.deactivate_app),
        "call_app": Endpoint("POST", "/app/{name}/call", apps.call_app),
    },
    "trigger": {
        "activate_trigger": Endpoint("POST", "/trigger/{task}/{trigger}/activate", tasks.activate_trigger),
        "deactivate_trigger": Endpoint(
            "POST", "/trigger/{task}/{trigger}/deactivate", tasks.deactivate_trigger
        ),
    },
    "condition": {
        "signal_condition": Endpoint("POST", "/condition/{run}/{action}/signal", tasks.signal_condition),
    },
    "build": {"build_image": Endpoint("POST", "/build-image", images.build_image)},
}

MISSING = {  # groups of Flyte, and why they are not here
    "prefetch": "there is no prefetching of models yet: let a task download the model and use its RunOutput",
}
_MISSING_ENDPOINTS = {
    "prefetch_hf_model": "prefetch",
    "get_prefetch_hf_model": "prefetch",
    "get_prefetch_hf_model_io": "prefetch",
    "abort_prefetch_hf_model": "prefetch",
}


def choose(owner: str, groups: Iterable[str] | None, endpoints: Iterable[str] | None) -> dict[str, Endpoint]:
    """The endpoints of some groups, or some endpoints, or without either all that there are.

    TypeError: one str instead of a list. ValueError: both, or a name that there is not.
    """
    if groups is not None and endpoints is not None:
        raise ValueError(f"{owner}: say endpoint_groups or endpoints, not both.")
    every = {name: endpoint for group in GROUPS.values() for name, endpoint in group.items()}
    if groups is not None:
        chosen: dict[str, Endpoint] = {}
        for group in _names(owner, "endpoint_groups", groups, {"all", *GROUPS}, MISSING):
            chosen |= every if group == "all" else GROUPS[group]
        return chosen
    if endpoints is not None:
        missing = {name: MISSING[group] for name, group in _MISSING_ENDPOINTS.items()}
        return {name: every[name] for name in _names(owner, "endpoints", endpoints, set(every), missing)}
    return every


def _names(
    owner: str, field: str, given: Iterable[str], choices: set[str], missing: dict[str, str]
) -> list[str]:
    if isinstance(given, str):
        raise TypeError(f"{owner}: {field} must be a list of names, not one str: write [{given!r}].")
    names = list(given)
    for name in names:
        if name in missing:
            raise ValueError(f"{owner}: {name!r} can't be chosen in {field}: {missing[name]}.")
        if name not in choices:
            raise ValueError(
                f"{owner}: there is no {name!r} for {field}; there are: {', '.join(sorted(choices))}."
            )
    return names
