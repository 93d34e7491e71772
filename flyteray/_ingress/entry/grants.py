"""A grant is what a key opens: whose it is, its role, its apps, until when. No effects here."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from flyteray._declare.facts import PRIORITIES, ROLES, Priority, Role

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
        sign: What the cookie of a browser has beside the key's digest that has signed in with the key; empty: none can.
        priority: Whether its requests go before those of others where they wait for room.

    Raises:
        ValueError: an owner that has no name.
    """

    owner: str
    role: Role = "invoke"
    apps: frozenset[str] = frozenset()
    expires: int = FOREVER
    sign: str = field(default="", repr=False)
    priority: Priority = "normal"

    def __post_init__(self) -> None:
        if not _OWNER.fullmatch(self.owner):
            raise ValueError(f"{self.owner!r} is no name of a key's owner.")

    def text(self) -> str:
        """A grant as HAProxy takes it apart.

        That is its owner, the level of its role, its end, whether it is for some apps only, and where there are such
        its sign and priority.
        """
        words = [self.owner, str(level(self.role)), str(self.expires), _SOME if self.apps else _ALL]
        also = [self.sign, "" if self.priority == "normal" else self.priority]
        return "/".join([*words, *also]).rstrip("/")


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


def signed(grants: Mapping[str, Grant], secret: Callable[[], bytes]) -> dict[str, Grant]:
    """The grants by digest with what browsers sign in by: nobody can make it of a digest who has not the secret.

    The secret is asked for where there are keys.
    """
    key = secret() if grants else b""
    return {
        digest: replace(grant, sign=hmac.new(key, digest.encode(), "sha256").hexdigest())
        for digest, grant in grants.items()
    }


def opened_apps(grants: Mapping[str, Grant]) -> list[str]:
    """The pairs of a key's digest and an app that it opens, of the keys that open some apps only."""
    return [f"{digest}/{app}" for digest, grant in grants.items() for app in grant.apps]


def _read(text: str, apps: set[str]) -> Grant:
    owner, number, expires, _, sign, priority, *_ = [*text.split("/"), "", ""]
    known: dict[str, Priority] = {each: each for each in PRIORITIES}
    return Grant(
        owner, ROLES[int(number) - 1], frozenset(apps), int(expires), sign, known.get(priority, "normal")
    )
