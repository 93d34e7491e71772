"""A secret is asked for by its name; its value is nowhere in the declaration."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

MOUNT = Path("/etc/flyte/secrets")
"""The one folder that Flyte mounts secrets in."""

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")


@dataclass(frozen=True)
class Secret:
    """A secret, given to tasks or replicas as an environment variable or a file.

    Its value is encrypted in the registry, with a key outside it (``~/.flyteray/secrets.key``, or
    ``FLYTERAY_SECRETS_KEY`` where the cluster's head starts), and is in no spec, log or dashboard. Users who may run
    code on the cluster may read it. For a secret that nobody has created, the local cluster, and no other, takes the
    environment variable of its name where ``run``, ``serve`` or ``deploy`` is called.

    Args:
        key: Its name, as in ``flyteray create secret``.
        group: A prefix that tells secrets of one key apart.
        mount: ``Path("/etc/flyte/secrets")``, or the same as a str, to get it as a file there.
        as_env_var: The environment variable; unless mounted, ``GROUP_KEY`` in upper case with ``_`` for ``-``.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: Another mount, or a name that is none for an environment variable.
    """

    key: str
    group: str | None = None
    mount: Path | str | None = None
    as_env_var: str | None = None

    def __post_init__(self) -> None:
        for name in ("key", "group", "as_env_var"):
            value = getattr(self, name)
            if not isinstance(value, str) and (name == "key" or value is not None):
                raise TypeError(f"Secret {name} must be a str, got {value!r}.")
        if self.mount is not None:
            if Path(self.mount) != MOUNT:
                raise ValueError(
                    f"Secret {self.key!r} can be mounted at {str(MOUNT)!r} only, got {self.mount!r}."
                )
            object.__setattr__(self, "mount", MOUNT)  # a text that says the same is equal
        if self.mount is None and self.as_env_var is None:
            name = "_".join(part for part in (self.group, self.key) if part)
            object.__setattr__(self, "as_env_var", name.replace("-", "_").upper())
        if self.as_env_var is not None and not _VARIABLE.fullmatch(self.as_env_var):
            raise ValueError(
                f"Secret {self.key!r}: {self.as_env_var!r} is no name for its environment variable: use upper-case "
                "letters, digits and _, not starting with a digit, or say as_env_var=..."
            )

    def stable_hash(self) -> str:
        """A hash that equal declarations have in every process."""
        return hashlib.sha256(repr((self.key, self.group, self.mount, self.as_env_var)).encode()).hexdigest()


SecretRequest: TypeAlias = str | Secret | Sequence[str | Secret]


def as_secrets(owner: str, asked: object) -> list[Secret]:
    """The list of secrets that ``secrets=`` means; a str is ``Secret(key)``. TypeError: something else."""
    if not asked:
        return []
    secrets = []
    for each in asked if isinstance(asked, (list, tuple)) else [asked]:
        if not isinstance(each, (str, Secret)):
            raise TypeError(f"{owner}: secrets must be a str, a Secret or a list of them, got {each!r}.")
        secrets.append(Secret(each) if isinstance(each, str) else each)
    return secrets
