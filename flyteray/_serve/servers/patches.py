"""A patch replaces an attribute of a class or module for a while, to reach servers that user code starts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def patch(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Let ``owner.name`` be ``value``; afterwards the owner is as it was, also if it had inherited the name."""
    absent = object()
    own = owner.__dict__.get(name, absent)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is absent:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
