"""A worker that lets none of its own code run is ended from outside."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from flyteray._tasks.timeouts import watchman
from tests.waiting import eventually

WORKER = """
    import subprocess, sys, time
    from flyteray._tasks.timeouts.ending import end_process, end_processes, own_watchman

    def child():
        started = subprocess.Popen(["sleep", "600"])
        print(started.pid, flush=True)
        return started
"""


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    script = textwrap.dedent(WORKER) + textwrap.dedent(request.param)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def line(process: subprocess.Popen[str]) -> str:
    stream: IO[str] | None = process.stdout
    assert stream is not None
    return stream.readline()


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def watchmen(pid: int) -> list[int]:
    """The watchmen of a process, which are nobody's children."""
    script = Path(watchman.__file__).name
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words[-1:] == [str(pid)] and any(word.endswith(script) for word in words):
            found.append(process.pid)
    return found


@pytest.mark.parametrize(
    "worker", ["with own_watchman().kills_after(0.3): child(); sum(range(10**13))"], indirect=True
)
def test_code_that_keeps_the_lock_is_killed_with_all_that_it_has_started(
    worker: subprocess.Popen[str],
) -> None:
    child = int(line(worker))

    assert worker.wait(timeout=20) == -9
    assert eventually(lambda: has_ended(child))
    assert eventually(lambda: not watchmen(worker.pid))


@pytest.mark.parametrize(
    "worker",
    [
        "own = own_watchman().kills_after\nwith own(600):\n with own(0.5): pass\n print('on', flush=True); "
        "time.sleep(600)"
    ],
    indirect=True,
)
def test_a_watchman_goes_with_its_worker_and_is_no_child_of_it(worker: subprocess.Popen[str]) -> None:
    assert line(worker) == "on\n"
    assert len(watchmen(worker.pid)) == 1
    assert not psutil.Process(worker.pid).children()

    worker.kill()
    worker.wait(timeout=20)
    assert eventually(lambda: not watchmen(worker.pid))


@pytest.mark.parametrize(
    "worker",
    ["older = child(); time.sleep(0.2); since = time.time(); child(); end_processes(since); time.sleep(600)"],
    indirect=True,
)
def test_what_an_attempt_has_started_is_ended_and_what_was_there_before_is_not(
    worker: subprocess.Popen[str],
) -> None:
    older, newer = int(line(worker)), int(line(worker))

    assert eventually(lambda: has_ended(newer))
    assert not has_ended(older)
    psutil.Process(older).kill()


@pytest.mark.parametrize("worker", ["child(); end_process(143, lambda: time.sleep(600))"], indirect=True)
def test_last_words_that_take_too_long_are_not_waited_for(worker: subprocess.Popen[str]) -> None:
    child = int(line(worker))

    assert worker.wait(timeout=20) == 143
    assert eventually(lambda: has_ended(child))
