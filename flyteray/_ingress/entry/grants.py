"""A grant is what a key opens: whose it is, its role, its apps, until when. No effects here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flyteray._declare.facts import ROLES, Role

FOREVER = 253402300799  # the last second of the year 9999

_OWNER = re.compile(r"[0-9A-Za-z._@-]+")
_ALL, _SOME = "all", "some"


@dataclass(frozen=True)
class Grant:
    """What a key opens.

    Args:
        owner: Whose it is.
        role: It may do what this role may, and what those before it may; see :data:`~flyteray._declare.facts.ROLES`.
        apps: The apps that it opens; none stands for all.
        expires: The second since 1970 from which on it opens nothing.

    Raises:
        ValueError: an owner that has no name.
    """

    owner: str
    role: Role = "invoke"
    apps: frozenset[str] = frozenset()
    expires: int = FOREVER

    def __post_init__(self) -> None:
        if not _OWNER.fullmatch(self.owner):
            raise ValueError(f"{self.owner!r} is no name of a key's owner.")

    def text(self) -> str:
        """A grant as HAProxy takes it apart: owner, level of the role, end, and whether it is for some apps only."""
        return f"{self.owner}/{level(self.role)}/{self.expires}/{_SOME if self.apps else _ALL}"


def level(role: Role) -> int:
    """The number of a role: a higher one may do more."""
    return ROLES.index(role) + 1


def read(texts: Mapping[str, str], opened: Mapping[str, str]) -> dict[str, Grant]:
    """The grants by digest, of their texts and of the apps that :func:`opened_apps` names."""
    apps: dict[str, set[str]] = {}
    for pair in opened:
        digest, _, app = pair.partition("/")
        apps.setdefault(digest, set()).add(app)
    return {digest: _read(text, apps.get(digest, set())) for digest, text in texts.items()}


def opened_apps(grants: Mapping[str, Grant]) -> list[str]:
    """The pairs of a key's digest and an app that it opens, of the keys that open some apps only."""
    return [f"{digest}/{app}" for digest, grant in grants.items() for app in grant.apps]


def _read(text: str, apps: set[str]) -> Grant:
    owner, number, expires, _ = text.split("/")
    return Grant(owner, ROLES[int(number) - 1], frozenset(apps), int(expires))
