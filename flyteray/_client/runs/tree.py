"""The tree of a run's actions is drawn in a terminal, again and again while the run is waited for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from flyteray._client.progress import Progress
from flyteray._client.session.session import session
from flyteray._plan.actions.tree import Branch, grown
from flyteray._plan.info import ActionPhase
from flyteray.errors import BaseRuntimeError

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

_LOOK_S = 1.0
_TOLD = 200  # actions that are looked at one by one
_SHORT = 6  # letters of an action's name
_STYLES = {
    "succeeded": "green",
    "recovered": "green",
    "running": "cyan",
    "failed": "bold red",
    "timed_out": "bold red",
    "aborted": "yellow",
    "paused": "magenta",
}


async def fetch(run: str, most: int = _TOLD, lines: Mapping[str, str] | None = None) -> Branch | None:
    """The tree of a run as it is now; of more actions than ``most`` those are left out that matter least."""
    return grown(await session().controller.runs.census(run, most), lines or {})


@contextlib.asynccontextmanager
async def watching(run: str, progress: Progress, lines: Mapping[str, str]) -> AsyncIterator[None]:
    """Show the tree of a run until the block ends, with the ``lines`` that its actions have written last."""
    if not progress.is_live:
        yield
        return
    task = asyncio.create_task(_watch(run, progress, lines))
    try:
        yield
    finally:
        task.cancel()


async def _watch(run: str, progress: Progress, lines: Mapping[str, str]) -> None:
    while True:
        with contextlib.suppress(BaseRuntimeError):  # who waits for the run learns of it
            tree = await fetch(run, lines=lines)
            if tree is not None and tree.children:
                progress.show(drawn(tree))
        await asyncio.sleep(_LOOK_S)


def drawn(branch: Branch, now: datetime | None = None) -> Tree:
    """A tree for a terminal."""
    from rich.tree import Tree  # deferred: only terminals pay for it

    at = now or datetime.now(timezone.utc)
    tree = Tree(_label(branch, at), guide_style="dim")
    _draw(tree, branch, at)
    return tree


def _draw(tree: Tree, branch: Branch, now: datetime) -> None:
    for each in branch.children:
        _draw(tree.add(_label(each, now)), each, now)


def _label(branch: Branch, now: datetime) -> Text:
    from rich.text import Text  # deferred, as above

    text = Text(no_wrap=True, overflow="ellipsis")
    if branch.action is None:
        text.append(branch.group or branch.task, "bold")
        if branch.group is not None and not branch.group.startswith(branch.task):
            text.append(f" {branch.task}", "dim")
        text.append(
            f" {branch.phases.get('succeeded', 0) + branch.phases.get('recovered', 0):,}/{branch.number:,}"
        )
    else:
        text.append(branch.task, "bold").append(f" {branch.action[:_SHORT]}", "dim")
    for word, style in _facts(branch, now):
        text.append(f" {word}", style)
    if branch.line:
        text.append(f" │ {branch.line}", "dim")
    return text


def _facts(branch: Branch, now: datetime) -> Iterator[tuple[str, str]]:
    if branch.action is None:
        for phase, number in branch.phases.items():
            if phase not in ("succeeded", "recovered"):
                yield f"{number:,} {phase.replace('_', ' ')}", _STYLES.get(phase, "")
        if branch.cached:
            yield f"{branch.cached:,} cached", "green"
        return
    (phase,) = branch.phases
    yield "cached" if branch.cached else phase.replace("_", " "), _STYLES.get(phase, "")
    if branch.started_at is not None and not branch.cached:
        yield f"{((branch.ended_at or now) - branch.started_at).total_seconds():.1f} s", "dim"
    if branch.error and phase != ActionPhase.ABORTED:
        yield branch.error.partition("\n")[0], "red"
