"""Descriptions for people, as long as Flyte lets them be."""

from __future__ import annotations

_LONGEST = 255
_CUT = "...(tr.)"  # as in Flyte


def shortened(description: str) -> str:
    """At most 255 characters of a description; one that was cut off says so at its end."""
    return description if len(description) <= _LONGEST else description[: _LONGEST - len(_CUT)] + _CUT
