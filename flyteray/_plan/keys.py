"""Keys for apps that require auth: how they are made, named and known again. Nobody but their owner keeps them."""

from __future__ import annotations

import hashlib
import re
import secrets

_PREFIX = "flyteray_"  # so that one that got into a repository or a log is recognised
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?")


def new_key() -> str:
    """A key that nobody can guess: 256 random bits as text."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def digest(key: str) -> str:
    """What a key is known by: its SHA-256 in hex. Nothing leads back from it to a key that was made here."""
    return hashlib.sha256(key.encode()).hexdigest()


def check_name(name: str) -> None:
    """Return when a key may be called so.

    Raises:
        ValueError: It may not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a key: use up to 63 letters, digits, dots, _, - and @, with a letter or digit at "
            "both ends."
        )
