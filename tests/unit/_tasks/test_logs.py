from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyteray._plan.actions import logs
from flyteray.storage import open_storage
from tests.waiting import eventually

BEGINNING = """
import os, subprocess, sys
from flyteray._plan.actions import logs
from flyteray._tasks.call import Call
from flyteray._tasks.logs import LogKeeper

def call(action, attempt=0):
    return Call(action, attempt, "r", None, "t", "b", "m", "n", (), ())

keeper = LogKeeper(sys.argv[1])
"""


class Worker:
    """A process whose output goes to files, as that of a worker does."""

    def __init__(self, folder: Path, program: str) -> None:
        self.storage = open_storage(folder / "storage")
        self._files = [(folder / name).open("wb") for name in ("out", "err")]
        self.process = subprocess.Popen(
            [sys.executable, "-c", BEGINNING + program, str(folder / "storage")],
            stdin=subprocess.PIPE,
            stdout=self._files[0],
            stderr=self._files[1],
        )

    def lines(self, action: str, attempt: int | None = None) -> list[str]:
        return logs.lines(self.storage, "r", action, attempt)

    def end(self) -> Worker:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return self


def test_each_attempt_keeps_what_is_written_while_it_runs_by_whomever(tmp_path: Path) -> None:
    program = """
print("of nobody")
attempt = keeper.begin(call("a0"))
print("one", flush=True)
os.write(2, b"natively\\n")
subprocess.run(["echo", "two"])
keeper.end(attempt)
print("of nobody")
attempt = keeper.begin(call("a1"))
print("of an earlier attempt of its parent", file=sys.stderr)
keeper.end(attempt)
keeper._keep_all()
attempt = keeper.begin(call("a1"))
print("again")
keeper.end(attempt)
attempt = keeper.begin(call("a1", attempt=1))
print("and again")
keeper.end(attempt)
"""
    worker = Worker(tmp_path, program).end()

    assert worker.lines("a0") == ["one", "two", "natively"]
    assert worker.lines("a1", 1) == ["again"]
    assert worker.lines("a1") == ["and again"]


def test_an_attempt_that_writes_nothing_leaves_nothing(tmp_path: Path) -> None:
    program = """
print("before", flush=True)
for number in range(100):
    attempt = keeper.begin(call(f"a{number}"))
    keeper.end(attempt)
print("after")
"""
    worker = Worker(tmp_path, program).end()

    assert list(worker.storage.list()) == []


def test_what_a_process_has_written_until_two_seconds_before_it_is_killed_is_kept(tmp_path: Path) -> None:
    program = """
attempt = keeper.begin(call("a0"))
print("one", flush=True)
sys.stdin.readline()
print("two", flush=True)
sys.stdin.read()
"""
    worker = Worker(tmp_path, program)
    assert worker.process.stdin is not None

    eventually(lambda: worker.lines("a0") == ["one"])
    worker.process.stdin.write(b"\n")
    worker.process.stdin.flush()
    eventually(lambda: worker.lines("a0") == ["one", "two"])
    worker.process.kill()
    worker.process.wait()

    assert worker.lines("a0") == ["one", "two"]


@pytest.mark.parametrize("looked_at", [False, True])
def test_of_much_the_beginning_and_the_end_are_kept(tmp_path: Path, looked_at: bool) -> None:
    program = f"""
attempt = keeper.begin(call("a0"))
for number in range(300_000):
    print(f"{{number:06}} " + "x" * 24)
    if {looked_at} and number % 10_000 == 0:
        sys.stdout.flush()
        keeper._keep_all()
keeper.end(attempt)
"""
    worker = Worker(tmp_path, program).end()
    states = worker.storage.states()
    sizes = [state.size for key, state in states.items() if not key.endswith("times")]
    lines = worker.lines("a0")

    assert len(sizes) == logs.FIRST + logs.LAST
    assert sizes[:-1] == [logs.PIECE] * (len(sizes) - 1)
    assert lines[0].startswith("000000")
    assert lines[-1].startswith("299999")
    cut = [number for number, line in enumerate(lines) if line.endswith("KiB are not kept]")]
    assert len(cut) == 1
    whole = [line for number, line in enumerate(lines) if abs(number - cut[0]) > 1]
    assert all(len(line) == 31 for line in whole)


def test_a_log_that_storage_refuses_stays_where_it_was_and_that_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "storage").write_text("a file, no folder")
    program = """
attempt = keeper.begin(call("a0"))
print("one", flush=True)
keeper._keep_all()
keeper._keep_all()
keeper.end(attempt)
"""
    Worker(tmp_path, program).end()

    told = (tmp_path / "err").read_text()
    assert told.count("The log of action a0 of run r stays in") == 1
    assert f"{tmp_path}/out" in told
    assert (tmp_path / "out").read_text() == "one\n"
