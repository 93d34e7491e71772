"""Secrets are planned by name, never by value; keys of apps are made, and known again by their digest."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from flyteray._declare.facts import APP_NAME
from flyteray._declare.near import did_you_mean
from flyteray._declare.secret import Secret
from flyteray._plan.spec import KeySpec, SecretSpec
from flyteray.errors import SecretNotFoundError

# Bytes that a value may have: few enough for Ray to send it in a message instead of keeping it as an object.
LARGEST = 64 * 1024

_SECRET_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)?", re.ASCII)
_KEY_PREFIX = "flyteray_"  # so that one that got into a repository or a log is recognised
_KEY_BYTES = 32
_KEY_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,61}[A-Za-z0-9])?")


def secret_specs(secrets: Iterable[Secret]) -> tuple[SecretSpec, ...]:
    """What an environment asks for, as it travels."""
    return tuple(
        SecretSpec(
            key=secret.key,
            group=secret.group,
            env_var=secret.as_env_var,
            mount=None if secret.mount is None else str(secret.mount),
        )
        for secret in secrets
    )


def variable(spec: SecretSpec) -> str:
    """The environment variable that a secret has where it comes from an environment."""
    return spec.env_var or spec.name.replace("/", "_").replace("-", "_").upper()


def check_secret_name(name: str) -> None:
    """Return when a secret may be called so; ValueError where it is neither ``key`` nor ``group/key``."""
    if not isinstance(name, str) or not _SECRET_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a secret: use letters, digits, _, - and dots that don't come first, "
            "as key or group/key."
        )


def as_value(name: str, value: object) -> bytes:
    """The bytes to keep; text as UTF-8. TypeError where it is neither, ValueError where it is empty or too large."""
    if not isinstance(value, (str, bytes)):  # the value itself is never shown
        raise TypeError(f"The value of secret {name!r} must be a str or bytes, got {type(value).__name__}.")
    data = value.encode() if isinstance(value, str) else value
    if not 0 < len(data) <= LARGEST:
        raise ValueError(f"The value of secret {name!r} must have 1 to {LARGEST} bytes, got {len(data)}.")
    return data


def as_text(value: bytes) -> str | None:
    """A value as an environment variable can hold it; None where it can't."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def not_found(missing: Sequence[str], there: Iterable[str], or_else: str = "") -> SecretNotFoundError:
    """The error for secrets that nobody has created; ``there`` are those there are, ``or_else`` is another remedy."""
    parts = [name.rpartition("/") for name in missing]
    named = ", ".join(f"{key!r} of group {group!r}" if group else repr(key) for group, _, key in parts)
    commands = " and ".join(f"`flyteray create secret {name}`" for name in missing)
    one = len(missing) == 1
    return SecretNotFoundError(
        f"There {'is no secret' if one else 'are no secrets'} {named}.{did_you_mean(missing[0], there)} "
        f"Create {'it' if one else 'them'} with {commands}{or_else}."
    )


def new_key() -> str:
    """A key that nobody can guess: 256 random bits as text."""
    return _KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)


def key_digest(key: str) -> str:
    """What a key is known by: its SHA-256 in hex. Nothing leads back from it to a key that was made here."""
    return hashlib.sha256(key.encode()).hexdigest()


def check_key(wanted: KeySpec) -> None:
    """Return when there may be such a key; ValueError where its name, its apps or its end are impossible."""
    check_key_name(wanted.name)
    for app in wanted.apps:
        if not APP_NAME.fullmatch(app):
            raise ValueError(
                f"{app!r} is no name of an app that a key could be for: use lower-case letters, digits and -."
            )
    if wanted.expires_at is not None and wanted.expires_at <= datetime.now(timezone.utc):
        raise ValueError(
            f"The key {wanted.name!r} would end at {wanted.expires_at:%Y-%m-%d %H:%M:%S %Z}, which is over: choose a "
            "time to come."
        )


def check_key_name(name: str) -> None:
    """Return when a key may be called so; ValueError where it may not."""
    if not isinstance(name, str) or not _KEY_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is no name for a key: use up to 63 letters, digits, dots, _, - and @, with a letter or digit at "
            "both ends."
        )
