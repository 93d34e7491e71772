"""The host names of apps, of which no two have the same, and how else each is reached. No effects here."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urljoin

from flyteray._plan.spec import AppSpec


def own_hosts(spec: AppSpec) -> tuple[str, ...]:
    """The host names that an app asks for besides ``<name>.localhost``."""
    wanted = (f"{spec.subdomain}.localhost" if spec.subdomain else None, spec.host)
    return tuple(dict.fromkeys(host for host in wanted if host and host != _named(spec)))


def refuse_taken_hosts(spec: AppSpec, others: Iterable[AppSpec]) -> None:
    """Make sure that an app asks for no host name that another one has; a ValueError names both and the host."""
    wanted = {_named(spec), *own_hosts(spec)}
    for other in others:
        taken = sorted(wanted & {_named(other), *own_hosts(other)})
        if other.name != spec.name and taken:
            raise ValueError(
                f"App {spec.name!r} can't have the address {taken[0]!r}: app {other.name!r} has it. Choose another "
                f"name or another Domain(...), or delete app {other.name!r} first."
            )


def links(spec: AppSpec, url: str) -> dict[str, str]:
    """The links shown with an app at ``url``: whole URLs by title."""
    return {
        link.title: urljoin(url, link.path.lstrip("/")) if link.is_relative else link.path
        for link in spec.links
    }


def timeout_ms(spec: AppSpec) -> int | None:
    """The time that an app's answers may take, in milliseconds; None where it sets no limit of its own."""
    return max(1, round(spec.request_timeout_s * 1000)) if spec.request_timeout_s else None


def _named(spec: AppSpec) -> str:
    return f"{spec.name}.localhost"
