"""A handle may be awaited, which gives itself: in Flyte it comes from async functions. Many tell what is recorded."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")


class Awaited:
    """What handles and values have in common that may be awaited.

    Code that was written for Flyte awaits them wherever its own functions are async, as in ``await run.details()``;
    here most are there at once.
    """

    __slots__ = ()

    def __await__(self: T) -> Generator[Any, Any, T]:
        yield from ()
        return self


class AsJson(ABC):
    """What handles have in common that tell what is recorded, as plain values or as JSON."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""

    def to_json(self) -> str:
        """All that is recorded, as JSON."""
        return json.dumps(self.to_dict())
