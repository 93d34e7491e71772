"""Credentials travel along with calls of apps, within a block of code."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

Pairs = tuple[tuple[str, str], ...]

_metadata: ContextVar[Pairs] = ContextVar("flyteray_auth_metadata", default=())


@contextlib.contextmanager
def auth_metadata(*pairs: tuple[str, str]) -> Iterator[None]:
    """Within the block, send these headers along with calls of apps on somebody's behalf.

    ``FlyteWebhookAppEnvironment`` does so when it calls an app; code of your own reads them with
    :func:`current_auth_metadata`. A block inside a block replaces the pairs; threads and tasks see only their own.

    Args:
        pairs: Names and values of headers, such as ``("authorization", "Bearer ...")``.

    Raises:
        ValueError: No pairs.
        TypeError: Something else than pairs of str.
    """
    if not pairs:
        raise ValueError(
            'auth_metadata needs at least one pair: auth_metadata(("authorization", "Bearer ..."))'
        )
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            # Not the pair itself: it may be a secret.
            raise TypeError(
                f"auth_metadata takes pairs of a name and a value, both str, got {type(pair).__name__}."
            )
    token = _metadata.set(pairs)
    try:
        yield
    finally:
        _metadata.reset(token)


def current_auth_metadata() -> Pairs:
    """The pairs of the innermost :func:`auth_metadata` around the caller; none outside."""
    return _metadata.get()
