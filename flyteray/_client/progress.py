"""The progress of a run or an app, told on stderr while it is waited for."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live
    from rich.spinner import Spinner
    from typing_extensions import Self

_PATIENCE_S = 1.5  # what is over sooner is not worth a line


class Progress:
    """The progress of a subject such as ``"run r1"``: what it waits for, and in a ``live`` terminal that it goes on.

    A terminal shows below that what :meth:`show` was given last, until the end.
    """

    def __init__(self, subject: str, quiet: bool, live: bool) -> None:
        self._subject = subject
        self._quiet = quiet
        self._live = live
        self._display: Live | None = None
        self._spinner: Spinner | None = None
        self._said = ""
        self._waits_since: float | None = None

    def __enter__(self) -> Self:
        if self._live and not self._quiet and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console  # deferred: only terminals pay for it
            from rich.live import Live
            from rich.spinner import Spinner

            self._spinner = Spinner("dots", f"Waiting for {self._subject} …")
            self._display = Live(self._spinner, console=Console(stderr=True), transient=True)
            self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._display is not None:
            self._display.stop()

    @property
    def is_live(self) -> bool:
        """Whether a terminal shows it."""
        return self._display is not None

    def show(self, below: RenderableType) -> None:
        """Show something below the line that says that it goes on; without a live terminal nobody sees it."""
        if self._display is None or self._spinner is None:
            return
        from rich.console import Group  # deferred, as above

        self._display.update(Group(self._spinner, below), refresh=True)

    def say(self, line: str) -> None:
        """Print a line, above what a terminal shows of the progress."""
        if self._display is None:
            print(line, file=sys.stderr, flush=True)
            return
        from rich.text import Text  # deferred, as above

        self._display.console.print(Text(line), soft_wrap=True)

    def tell(self, waiting: str | None) -> None:
        """Tell what it waits for now; None: for nothing. The same with other numbers is not said again."""
        if self._spinner is not None:
            self._spinner.update(
                text=f"Waiting for {self._subject} …" + (f" It {waiting}" if waiting else "")
            )
        if self._quiet or self._display is not None:
            return
        if waiting is None:
            self._waits_since = None
            return
        if self._waits_since is None:
            self._waits_since = time.monotonic()
        kind = re.sub(r"[0-9.]+", "#", waiting.partition("; running:")[0])
        if kind != self._said and time.monotonic() - self._waits_since >= _PATIENCE_S:
            self._said = kind
            print(f"{self._subject[0].upper()}{self._subject[1:]} {waiting}.", file=sys.stderr, flush=True)
