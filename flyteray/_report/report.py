"""A report holds what a task shows of its work: HTML in tabs, from which one page is made."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable

from flyteray._report.content import renderer
from flyteray._report.page import Heading, Shown, page
from flyteray._report.piece import Piece

MAIN = "main"
ROOM = 64 * 1024 * 1024
"""The characters that all tabs of a report hold together, at most."""


class Tab:
    """A tab of a report. Every thread and coroutine may add to it, whatever it runs for.

    Attributes:
        name: The words to click on.
    """

    def __init__(self, name: str, room: _Room | None = None) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError(f"A tab's name must be a str that is not empty, got {name!r}.")
        self.name = name
        self._room = room or _Room(ROOM)
        self._pieces: list[Piece] = []
        self._left_out = 0

    def log(self, content: object) -> None:
        """Add something below what is there.

        Args:
            content: HTML as a str, which goes into the page as it is (``html.escape`` what may hold ``<``); it may be
                a part, such as a row whose table is ended later. A DataFrame of pandas, polars or arrow, or a Series,
                is shown as a table of its first 500 rows (of pandas the first and the last 250), a figure of
                matplotlib (or axes of it) and a PIL image as a picture. A figure of plotly or a chart of altair stays
                interactive, and the page brings the JavaScript that it needs: 5 MB for plotly, 1 MB for altair, once,
                and for altair only where ``vl-convert-python`` is installed. Else whatever notebooks show: an object
                with ``_repr_html_``, ``_repr_mimebundle_``, ``_repr_svg_``, ``_repr_png_`` or ``_repr_jpeg_``.

        Raises:
            TypeError: A value of another type.
            ModuleNotFoundError: A chart of altair, where ``vl-convert-python`` is missing.
        """
        self._put(renderer(content), anew=False)

    def replace(self, content: object) -> None:
        """Show something in place of what is there; ``content`` and errors as in :meth:`log`."""
        self._put(renderer(content), anew=True)

    def get_html(self) -> str:
        """The HTML of its content, which is no page by itself."""
        with self._room.lock:
            return "\n".join(piece.html for piece in self._pieces)

    def shown(self) -> Shown:
        """Its part of the page."""
        with self._room.lock:
            return Shown(self.name, tuple(self._pieces), self._left_out)

    def _put(self, render: Callable[[], Piece], anew: bool) -> None:
        if not self._room.size:
            return
        piece = render()
        with self._room.lock:
            if anew:
                self._room.left += sum(len(each.html) for each in self._pieces)
                self._pieces, self._left_out = [], 0
            if len(piece.html) <= self._room.left:
                self._room.left -= len(piece.html)
                self._pieces.append(piece)
            else:
                self._left_out += len(piece.html)
            self._room.changes += 1

    def __repr__(self) -> str:
        return f"Tab({self.name!r})"


class Report:
    """The report of an action: a page with tabs, of which ``main`` is the first.

    It holds 64 Mi characters. What is more is left out, piece by piece, and the page says how much of which tab;
    replacing what is there makes room again.

    Attributes:
        name: The title of the page.
        tabs: The tabs by name.

    Args:
        name: The title of the page.
        room: The characters that it holds; 0: whatever is put into it is forgotten.
    """

    def __init__(self, name: str, room: int = ROOM) -> None:
        self.name = name
        self._room = _Room(room)
        self.tabs: dict[str, Tab] = {MAIN: Tab(MAIN, self._room)}

    def get_tab(self, name: str, create_if_missing: bool = True) -> Tab:
        """The tab of that name.

        Args:
            name: The words to click on.
            create_if_missing: Make it behind the others where it is not there.

        Raises:
            ValueError: It is not there and not to be made, or its name is empty.
        """
        found = self.tabs.get(name)
        if found is not None:
            return found
        if not create_if_missing:
            raise ValueError(f"There is no tab {name!r}: there are {', '.join(map(repr, self.tabs))}.")
        return self.tabs.setdefault(name, Tab(name, self._room))

    def has_content(self) -> bool:
        """Whether anything has been put into it."""
        return any(tab.get_html() for tab in list(self.tabs.values()))

    def get_final_report(self) -> str:
        """The whole page as it is now: HTML that needs nothing else."""
        return self._page(Heading())

    def flush(self) -> None:
        """Write it to where it is kept. One that nobody keeps is not written."""

    @property
    def _changes(self) -> int:
        """How often anything has changed."""
        return self._room.changes

    def _page(self, heading: Heading) -> str:
        return page(self.name, heading, [tab.shown() for tab in list(self.tabs.values())])

    def __repr__(self) -> str:
        return f"Report({self.name!r}, tabs={list(self.tabs)})"


class _Room:
    """The room that is left in a report, which its tabs share."""

    def __init__(self, size: int) -> None:
        self.size = self.left = size
        self.changes = 0
        self.lock = threading.Lock()


def unseen() -> Report:
    """A report that nobody sees: what is put into it is forgotten."""
    return Report("", room=0)


@functools.cache
def of_no_task() -> Report:
    """The report of code outside tasks, which nobody sees."""
    return unseen()
