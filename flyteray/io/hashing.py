"""Hashes identify the content of a file or a value, for caching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_CHUNK = 1 << 20


@runtime_checkable
class HashMethod(Protocol):
    """Works out a text that identifies what it was shown."""

    def update(self, data: Any, /) -> None:
        """Be shown something."""

    def result(self) -> str:
        """The text."""


class HashFunction:
    """A function as a :class:`HashMethod`: it is shown one value as a whole.

    Args:
        fn: Gives the text that identifies a value.
    """

    def __init__(self, fn: Callable[[Any], str]) -> None:
        self._fn = fn
        self._value = ""

    @classmethod
    def from_fn(cls, fn: Callable[[Any], str]) -> HashFunction:
        """A hash function, as the class makes it."""
        return cls(fn)

    def update(self, data: Any) -> None:
        """Be shown the value."""
        self._value = self._fn(data)

    def result(self) -> str:
        """The text of the value that was shown last."""
        return self._value


def hashed(file: Path, method: HashMethod | str | None) -> str | None:
    """The text that identifies a file's content: that which is given, or what ``method`` makes of its bytes."""
    if method is None or isinstance(method, str):
        return method
    if isinstance(method, HashFunction):
        method.update(file.read_bytes())
        return method.result()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            method.update(chunk)
    return method.result()
