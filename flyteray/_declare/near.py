"""Similar names are suggested to the author of a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6  # of 1, as difflib counts
_BEHIND = 0.2  # of the likeliest; what is further is not meant
_MOST = 3


def near(name: str, there: Iterable[str]) -> list[str]:
    """The names, at most three, that somebody who wrote ``name`` may have meant; the likeliest first.

    Case and separators do not count. What follows the last dot counts by itself as well: who writes ``train`` or
    ``demo.train`` may mean ``search.train``.
    """
    asked_of, asked = _halves(name)

    def likeness(other: str) -> float:
        of, last = _halves(other)
        alike = _ratio(asked, last)
        if not of and not asked_of:
            return alike
        # The same environment alone is no reason: all of its tasks have it.
        return max((_ratio(asked_of, of) + 2 * alike) / 3, 0.9 * alike)

    scored = sorted((-likeness(other), other) for other in set(there))
    return [other for score, other in scored if -score >= max(_SIMILAR, -scored[0][0] - _BEHIND)][:_MOST]


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """A question to follow "there is no NAME", with a space before it; empty where no name is near."""
    similar = near(name, there)
    return f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""


def _halves(name: str) -> tuple[str, str]:
    """The parts before the last dot, which may be empty, and behind it."""
    before, _, last = name.casefold().replace("-", "_").rpartition(".")
    return before, last


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
