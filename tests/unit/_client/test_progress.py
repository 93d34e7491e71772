"""What is said while a run or an app is waited for."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from flyteray._client.progress import Progress
from tests.waiting import eventually


def said(capsys: pytest.CaptureFixture[str], progress: Progress, waiting: str) -> str:
    """What is said when it has waited for so long that it is worth a line."""
    heard: list[str] = []

    def ask() -> str:
        progress.tell(waiting)
        heard.append(capsys.readouterr().err)
        return "".join(heard)

    return eventually(ask)


def test_a_wait_that_lasts_is_said_once_whatever_its_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("run r1", quiet=False, live=True) as progress:
        progress.tell("waits for 2 CPUs on one node; free: 0 of 2; running: r0")
        assert capsys.readouterr().err == ""  # it may be over at once
        first = said(capsys, progress, "waits for 2 CPUs on one node; free: 0 of 2; running: r0")
        progress.tell("waits for 2 CPUs on one node; free: 1 of 2; running: r3, r4")
        progress.tell("waits for its worker process, which is being started")
        rest = capsys.readouterr().err

    assert first == "Run r1 waits for 2 CPUs on one node; free: 0 of 2; running: r0.\n"
    assert rest == "Run r1 waits for its worker process, which is being started.\n"


def test_who_wants_quiet_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    loud = Progress("app a", quiet=False, live=False)
    quiet = Progress("app b", quiet=True, live=False)

    def ask() -> str:
        quiet.tell("waits for 1 GPU")
        loud.tell("waits for 1 GPU")
        return capsys.readouterr().err

    assert eventually(ask) == "App a waits for 1 GPU.\n"


def until_closed(terminal: int) -> Iterator[bytes]:
    with os.fdopen(terminal, "rb", buffering=0) as file, contextlib.suppress(OSError):  # when it is closed
        while piece := file.read(4096):
            yield piece


def test_only_a_terminal_is_shown_what_stands_below(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("run r1", quiet=False, live=True) as progress:
        progress.show("a tree")

        assert not progress.is_live
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_what_it_was_given_last_and_nothing_of_it_in_the_end() -> None:
    leader, follower = os.openpty()
    pieces: list[bytes] = []
    reading = threading.Thread(target=lambda: pieces.extend(until_closed(leader)))
    reading.start()
    with (
        os.fdopen(follower, "w") as terminal,
        contextlib.redirect_stderr(terminal),
        Progress("run r1", quiet=False, live=True) as progress,
    ):
        assert progress.is_live
        progress.show("a tree")
        progress.say("a line")
        progress.tell("waits for 1 GPU")
        progress.show("another tree")
    reading.join()
    shown = b"".join(pieces).decode()

    assert [
        text for text in ("a tree", "a line", "It waits for 1 GPU", "another tree") if text not in shown
    ] == []
    assert shown.rindex("\x1b[2K") > shown.rindex("another tree")
