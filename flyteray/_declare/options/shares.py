"""Shares of an app's requests are given to versions in percent, and checked. No effects here."""

from __future__ import annotations

import re
from collections.abc import Mapping

BY_COOKIE = "cookie"  # keeps a client to a version, in place of a header

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_EXAMPLE = 'set_traffic({"v1": 95, "v2": 5})'


def checked_shares(shares: Mapping[str, int]) -> dict[str, int]:
    """Percent by the name of a version.

    Raises:
        TypeError: They are no mapping of texts to whole numbers.
        ValueError: One is negative, or they don't add up to 100.
    """
    if not isinstance(shares, Mapping) or not all(isinstance(name, str) for name in shares):
        raise TypeError(f"The traffic must be percent by version, as in {_EXAMPLE}, got {shares!r}.")
    for name, share in shares.items():
        checked_share(share, f"The share of version {name!r}")
    if (whole := sum(shares.values())) != 100:
        raise ValueError(f"The shares must add up to 100 percent, and {dict(shares)} are {whole}.")
    return dict(shares)


def checked_share(share: int, named: str) -> int:
    """A share in percent; errors as of :func:`checked_shares`."""
    if isinstance(share, bool) or not isinstance(share, int):
        raise TypeError(f"{named} must be a whole number of percent, got {share!r}.")
    if not 0 <= share <= 100:
        raise ValueError(f"{named} must be 0 to 100 percent, got {share!r}.")
    return share


def checked_sticky(sticky: str | None) -> str | None:
    """What keeps a client to a version: None, ``"cookie"`` or the name of a header.

    Raises:
        ValueError: It is none of these.
    """
    if sticky is not None and not (isinstance(sticky, str) and _HEADER.fullmatch(sticky)):
        raise ValueError(
            f'sticky must be "cookie" or the name of a header, such as "X-User", got {sticky!r}.'
        )
    return sticky


def main_version(shares: Mapping[str, int], serving: str | None) -> str:
    """The version whose hosts, limits and keys hold for all: the one with most; of equals the one that serves."""
    return max(shares, key=lambda version: (shares[version], version == serving))
