"""A piece of a report is HTML, with the JavaScript library that it calls."""

from __future__ import annotations

import re
from typing import NamedTuple

_COLOURS = re.compile(r"(?:colou?r|background)\s*[:=]|<style\b", re.IGNORECASE)


class Piece(NamedTuple):
    """A piece of HTML; ``library`` is the JavaScript that the page has to bring for it, or empty.

    ``adapts`` tells one that is readable on light and on dark ground alike.
    """

    html: str
    library: str = ""
    adapts: bool = False

    @property
    def wants_paper(self) -> bool:
        """Whether it was made for a white page: it has colours of its own, and takes the others as they are there."""
        return not self.adapts and _COLOURS.search(self.html) is not None
