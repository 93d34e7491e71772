"""A piece of a report is HTML, with the JavaScript library that it calls."""

from __future__ import annotations

import re
from typing import NamedTuple

_COLOURS = re.compile(r"(?:colou?r|background)\s*[:=]|<style\b", re.IGNORECASE)


class Piece(NamedTuple):
    """A piece of HTML; ``library`` is the JavaScript that the page has to bring for it, or empty.

    ``paper`` tells one that was made for a white page: it has colours of its own, and takes the others as they are
    there.
    """

    html: str
    library: str = ""
    paper: bool = False

    @classmethod
    def of_others(cls, html: str) -> Piece:
        """The HTML of users and their libraries: what names a colour anywhere was made for a white page."""
        return cls(html, paper=_COLOURS.search(html) is not None)
