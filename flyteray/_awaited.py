"""A value that may be awaited as well, which gives itself: in Flyte it comes from async functions."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Awaited:
    """What such values have in common."""

    __slots__ = ()

    def __await__(self: T) -> Generator[Any, Any, T]:
        yield from ()
        return self
