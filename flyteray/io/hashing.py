"""Hashes identify the content of a file or a value, for caching."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

_CHUNK = 1 << 20


@runtime_checkable
class HashMethod(Protocol):
    """A method that makes a text of data, by which the data is identified."""

    def update(self, data: Any, /) -> None:
        """Take in some data."""

    def result(self) -> str:
        """The text of all that was taken in."""


class HashFunction:
    """A function as a :class:`HashMethod`, which takes in one value as a whole.

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

    def of(self, value: Any) -> str:
        """The text of one value, whatever was taken in before. Not of Flyte."""
        return self._fn(value)

    def update(self, data: Any) -> None:
        """Take in the value."""
        self._value = self._fn(data)

    def result(self) -> str:
        """The text of the value that was taken in last."""
        return self._value


def hashed(file: Path, method: HashMethod | str | None) -> str | None:
    """The text that identifies a file's content: the given one, or the one that ``method`` makes of its bytes."""
    if method is None or isinstance(method, str):
        return method
    if isinstance(method, HashFunction):
        method.update(file.read_bytes())
        return method.result()
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            method.update(chunk)
    return method.result()
