"""Attributes of classes replaced for a while: how servers in a replica's process are reached from outside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    """Let ``owner.name`` be ``value``; afterwards the class is as it was, also if it had inherited the name."""
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
