"""Addresses of notifications that are kept as secrets are read: text in, notifications out."""

from __future__ import annotations

from collections.abc import Sequence

from flyteray._declare.options.notification import (
    PHASES,
    Email,
    NamedDelivery,
    NamedRule,
    Notification,
    Slack,
    Teams,
    Webhook,
)

GROUP = "notify"


def secret_name(name: str) -> str:
    """The secret that a name stands for."""
    return f"{GROUP}/{name}"


def named(declared: NamedDelivery | NamedRule, text: str, phase: str) -> list[Notification]:
    """The notifications that a named one stands for when a run ends in a phase; ValueError for what is none."""
    found = []
    for line in filter(None, map(str.strip, text.splitlines())):
        phases, address = declared_phases(declared, line)
        if phase in phases:
            found.append(_at(address, phases, declared.name))
    return found


def declared_phases(declared: NamedDelivery | NamedRule, line: str) -> tuple[Sequence[str], str]:
    """The phases of a line of a named notification, and its address."""
    if isinstance(declared, NamedDelivery):
        return declared.on_phase, line
    words, _, address = line.partition(" ")
    phases = words.split(",")
    if not address or not set(phases) <= set(PHASES):
        raise ValueError(
            f"secret {secret_name(declared.name)!r} has a line that begins with no phases: write "
            f"'failed,timed_out mailto:team@example.com'; phases are {', '.join(PHASES)}."
        )
    return phases, address.strip()


def _at(address: str, phases: Sequence[str], name: str) -> Notification:
    kind, _, rest = address.partition("+")
    if kind == "slack":
        return Slack(on_phase=phases, webhook_url=rest)
    if kind == "teams":
        return Teams(on_phase=phases, webhook_url=rest)
    if address.startswith("mailto:"):
        recipients = address.removeprefix("mailto:").split(",")
        return Email(on_phase=phases, recipients=tuple(each.strip() for each in recipients))
    if address.startswith(("http://", "https://")):
        return Webhook(on_phase=phases, url=address)
    raise ValueError(
        f"secret {secret_name(name)!r} is no address: it begins with slack+https://, teams+https://, https:// or "
        "mailto:."
    )
