"""A tree as a terminal shows it."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone

from rich.console import Console

from flyteray._client.runs.tree import drawn
from flyteray._plan.actions.tree import Branch

NOW = datetime(2024, 5, 31, 12, tzinfo=timezone.utc)


def text(branch: Branch, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(drawn(branch, NOW))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_tree_tells_how_each_stands_and_what_it_wrote_last() -> None:
    began = NOW - timedelta(seconds=12.34)
    running = Branch(
        task="env.f",
        group="env.f_map",
        action="abcdefghijkl",
        phases={"running": 1},
        started_at=began,
        line="half [done]",
    )
    failed = Branch(
        task="env.f",
        action="bcdefghijklm",
        phases={"failed": 1},
        started_at=began,
        ended_at=began + timedelta(seconds=1),
        error="ValueError: no\nmore",
    )
    mapped = Branch(
        task="env.f",
        group="env.f_map",
        phases={"succeeded": 1900, "running": 64, "waiting_for_resources": 36},
        cached=7,
        children=(failed, running),
    )
    cached = Branch(task="env.g", action="cdefghijklmn", phases={"succeeded": 1}, cached=1, started_at=began)
    other = Branch(task="env.h", group="nightly", phases={"recovered": 3})
    root = Branch(
        task="env.root",
        action="a0",
        phases={"running": 1},
        started_at=began,
        children=(mapped, cached, other),
    )

    assert text(root) == [
        "env.root a0 running 12.3 s",
        "├── env.f_map 1,900/2,000 64 running 36 waiting for resources 7 cached",
        "│   ├── env.f bcdefg failed 1.0 s ValueError: no",
        "│   └── env.f abcdef running 12.3 s │ half [done]",
        "├── env.g cdefgh cached",
        "└── nightly env.h 3/3",
    ]


def test_what_is_too_long_for_a_line_is_cut() -> None:
    root = Branch(task="env.root", action="a0", phases={"running": 1}, line="x" * 200)

    (line,) = text(root, width=40)

    assert len(line) == 40
    assert line.endswith("x…")
