"""Tables are as wide as the terminal, whatever is in them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import textwrap

import pytest

from flyteray.cli import printing

REFUSAL = "ValueError: these weights are empty, so the old ones stay; " * 6
URL = "http://digits-service.localhost:41873/"
APPS = [
    {"name": "digits-service", "phase": "active", "url": URL, "waiting": REFUSAL},
    {"name": "a", "phase": "failed", "url": "http://a.localhost:41873/", "waiting": None},
]
COLUMNS = ("name", "phase", "url", "waiting")


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("width", [40, 80, 100, 160])
def test_nothing_is_wider_than_columns_says(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    printing.rows(APPS, "table", COLUMNS)
    printing.record({"name": "digits", "error": REFUSAL, "url": "http://" + "x" * 200}, "table")

    lines = shown(capsys)
    assert max(map(len, lines)) <= width
    words = " ".join(" ".join(lines).split())
    assert "digits-service" in words
    assert words.count("empty,") == 12  # nothing is cut off


def test_records_that_do_not_fit_side_by_side_are_shown_one_by_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")

    printing.rows(APPS, "table", COLUMNS)

    lines = shown(capsys)
    assert lines[:3] == ["name     digits-service", "phase    active", f"url      {URL}"]
    assert lines[-4:] == ["", "name   a", "phase  failed", "url    http://a.localhost:41873/"]


def test_a_pipe_gets_readable_lines_with_whole_names_and_addresses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)

    printing.rows(APPS, "table", COLUMNS)
    printing.record({"url": "http://" + "x" * 200}, "table")

    head, first, *_, last = shown(capsys)
    assert head.split() == ["NAME", "PHASE", "URL", "WAITING"]
    assert first.split()[:3] == ["digits-service", "active", URL]
    assert len(first) <= 120
    assert last == "url  http://" + "x" * 200


def test_json_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "20")

    printing.rows(APPS, "json", COLUMNS)

    assert json.loads("\n".join(shown(capsys))) == APPS


def test_a_terminal_is_filled_and_not_more() -> None:
    script = textwrap.dedent(
        """
        import fcntl, struct, sys, termios
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 70, 0, 0))
        from tests.unit.cli.test_printing import APPS, COLUMNS, printing
        printing.rows(APPS, "table", COLUMNS)
        """
    )
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    subprocess.run(
        [sys.executable, "-c", script],
        stdin=theirs,
        stdout=theirs,
        env=environment | {"NO_COLOR": "1", "TERM": "dumb"},
        check=True,
        timeout=60,
    )
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)

    assert "digits-service" in text
    assert max(len(line.rstrip("\r")) for line in text.split("\n")) <= 70
