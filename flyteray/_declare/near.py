"""Names that are like one that there is not: what to say to who mistyped it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SIMILAR = 0.6  # of 1, as difflib counts
_MOST = 3


def near(name: str, there: Iterable[str]) -> list[str]:
    """The names, at most three, that somebody who wrote ``name`` may have meant; the likeliest first.

    Case and separators do not count. What follows the last dot counts by itself as well: who writes ``train`` or
    ``demo.train`` may mean ``search.train``.
    """
    asked = _plain(name)
    last = asked.rpartition(".")[2]

    def likeness(other: str) -> float:
        known = _plain(other)
        part = known.rpartition(".")[2]
        return max(_ratio(asked, known), 0.9 * _ratio(last, part) if part != known else 0.0)

    scored = sorted((-likeness(other), other) for other in set(there))
    return [other for score, other in scored if -score >= _SIMILAR][:_MOST]


def did_you_mean(name: str, there: Iterable[str]) -> str:
    """A question to follow "there is no NAME", with a space before it; empty where no name is near."""
    similar = near(name, there)
    return f" Did you mean {' or '.join(map(repr, similar))}?" if similar else ""


def _plain(name: str) -> str:
    return name.casefold().replace("-", "_")


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
