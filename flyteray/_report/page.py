"""The page of a report is one HTML file with all that it needs: browsers ask nobody for anything."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import NamedTuple

from flyteray._report.figures import source
from flyteray._report.piece import Piece

_EMPTY = '<p class="flyteray-quiet">Nothing has been logged.</p>'


class Heading(NamedTuple):
    """The words above the tabs: facts of the action, its phase, when that was so, and why it failed."""

    facts: tuple[str, ...] = ()
    phase: str = ""
    when: str = ""
    problem: str = ""


class Shown(NamedTuple):
    """A tab as it is shown; ``left_out`` are the characters for which there was no room."""

    name: str
    pieces: tuple[Piece, ...]
    left_out: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been put into it."""
        return not self.pieces and not self.left_out


def page(title: str, heading: Heading, tabs: Sequence[Shown]) -> str:
    """The page of a report. The first tab is left out where it is empty and others are not."""
    shown = [tab for tab in tabs if not tab.is_empty] if tabs[0].is_empty else list(tabs)
    shown = shown or list(tabs[:1])
    libraries = dict.fromkeys(piece.library for tab in shown for piece in tab.pieces if piece.library)
    return _template().substitute(
        title=escape(title),
        heading=_heading(title, heading),
        scripts="\n".join(f"<script>{source(library)}</script>" for library in libraries),
        tabs="\n".join(_tab(number, tab) for number, tab in enumerate(shown)),
        one=" hidden" if len(shown) == 1 else "",
        panels="\n".join(_panel(number, tab) for number, tab in enumerate(shown)),
    )


def _heading(title: str, heading: Heading) -> str:
    facts = "".join(f"<span>{escape(fact)}</span>" for fact in heading.facts)
    phase = f'<span class="flyteray-phase {escape(heading.phase)}">{escape(heading.phase)}</span>'
    lines = [
        f"<h1>{escape(title)}{phase if heading.phase else ''}</h1>" if title else "",
        f'<p class="flyteray-quiet">{facts}<span>{escape(heading.when)}</span></p>' if heading.facts else "",
        f'<pre class="flyteray-problem">{escape(heading.problem)}</pre>' if heading.problem else "",
    ]
    return "\n".join(line for line in lines if line)


def _tab(number: int, tab: Shown) -> str:
    return (
        f'<button role="tab" id="flyteray-tab-{number}" aria-controls="flyteray-panel-{number}">{escape(tab.name)}'
        "</button>"
    )


def _panel(number: int, tab: Shown) -> str:
    paper = " flyteray-paper" if any(piece.wants_paper for piece in tab.pieces) else ""
    content = "\n".join(piece.html for piece in tab.pieces) or _EMPTY
    if tab.left_out:
        content += (
            f'\n<p class="flyteray-quiet">[{tab.left_out:,} characters more had no room in this report]</p>'
        )
    return (
        f'<section role="tabpanel" id="flyteray-panel-{number}" aria-labelledby="flyteray-tab-{number}" '
        f'class="flyteray-panel{paper}">\n{content}\n</section>'
    )


@functools.cache
def _template() -> Template:
    return Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
