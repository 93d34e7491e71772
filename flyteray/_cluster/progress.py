"""What a user sees while something takes seconds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def progress(what: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Seconds on stderr while it lasts, a line when it is done."""
    if quiet:
        yield lambda _: None
        return
    from rich.console import Console  # only where something is shown
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    began = time.monotonic()
    ending: list[str] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(f"{what} …")
        yield ending.append
    console.print(
        f"{what}: done in {time.monotonic() - began:.1f} s, {' '.join(ending)}.",
        highlight=False,
        soft_wrap=True,
    )
