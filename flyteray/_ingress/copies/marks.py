"""The marks by which a copied request, and its copy, are known in HAProxy's lines of them. No effects here."""

from __future__ import annotations

import re
from typing import NamedTuple

MADE, LEFT_OUT, COPY = "=", "!", "*"  # between the shadow and the rest
IS_COPY = "copy"  # tells the activator that a request is one

_MARK = re.compile(rf"([0-9a-z]+)([{MADE}{LEFT_OUT}{COPY}])(\S+)")


class Mark(NamedTuple):
    """What a line says of copies.

    Attributes:
        shadow: Which one the copy is for.
        kind: :data:`MADE` for a request that was copied, :data:`LEFT_OUT` for one that was to be, :data:`COPY` for a
            copy.
        rest: When the copy was made, in microseconds since 1970; why there is none; the number of the copied request.
    """

    shadow: str
    kind: str
    rest: str


def read(text: str) -> Mark | None:
    """The mark of a line; None where it has none."""
    if text == "-" or (found := _MARK.fullmatch(text)) is None:
        return None
    return Mark(*found.groups())
