from __future__ import annotations

import threading
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.report import Timeline, abbreviate, duration_ms

env = flyte.TaskEnvironment(name="timelines")


@pytest.mark.parametrize(
    ("start", "end", "told"),
    [
        ("2026-01-01T00:00:00", "2026-01-01T00:00:00.250", "250 ms"),
        ("2026-01-01T00:00:00Z", "2026-01-01T01:00:01.5+01:00", "1500 ms"),
        ("2026-01-01T00:00:00.123456789Z", "2026-01-01T00:00:01.123456789Z", "1000 ms"),
        (None, "2026-01-01T00:00:00", ""),
        ("2026-01-01T00:00:00", "", ""),
        ("yesterday", "2026-01-01T00:00:00", ""),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00", ""),
    ],
)
def test_the_time_between_two_moments_is_told_in_milliseconds(start: object, end: object, told: str) -> None:
    assert duration_ms(start, end) == told


def test_a_short_value_is_escaped_and_a_long_one_opens() -> None:
    assert (abbreviate(None), abbreviate("<b>"), abbreviate(3)) == ("", "&lt;b&gt;", "3")
    assert abbreviate("abcdef", limit=2) == (
        "<details><summary>ab… (+4)</summary><pre>abcdef</pre></details>"
    )
    assert "… and 5 characters more</pre>" in abbreviate("x" * 20_005)


@env.task(report=True)
def agent() -> None:
    timeline = Timeline("steps")
    timeline.heading("<Agent>")
    timeline.row(icon="⚙", label="search<>", meta="12 ms", detail=abbreviate("found"))
    thread = threading.Thread(target=lambda: timeline.row(label="aside", error=ValueError("no <b>")))
    thread.start()
    thread.join()


def test_a_timeline_lists_steps_in_a_tab_whoever_adds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))

    page = flyte.with_runcontext(mode="local").run(agent).get_report()

    assert "<h3>&lt;Agent&gt;</h3>" in page
    assert "⚙ <b>search&lt;&gt;</b>" in page
    assert "12 ms</span> — found</div>" in page
    assert "• <b>aside</b>" in page
    assert "⚠ no &lt;b&gt;</span>" in page


def test_outside_tasks_a_timeline_does_nothing() -> None:
    timeline = Timeline()
    timeline.heading("x")
    timeline.row(label="y")
