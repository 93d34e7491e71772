"""Text that every terminal, file and database takes, made of any text."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

LONGEST = 64 * 1024  # characters


def printable(text: T, longest: int = LONGEST) -> T | str:
    """A text without lone surrogates and NUL, which are shown as escapes; what is no text is left as it is.

    Of a text longer than ``longest`` characters the middle is left out.
    """
    if not issubclass(type(text), str):
        return text
    told = str.__str__(text)  # of a subclass, the text itself
    if len(told) > longest:
        head, tail = longest * 3 // 4, longest // 4
        told = f"{told[:head]}\n[… {len(told) - head - tail:,} characters left out …]\n{told[-tail:]}"
    return told.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
