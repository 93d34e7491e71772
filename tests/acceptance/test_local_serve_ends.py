"""What is left of local apps when the process that serves them has ended: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.acceptance.command import COMMAND
from tests.processes import runs
from tests.waiting import eventually

SCRIPT = Path(__file__).with_name("outlived.py")
ENDS = {
    "return": None,
    "exception": None,
    "interrupted": signal.SIGINT,
    "terminated": signal.SIGTERM,
    "killed": signal.SIGKILL,
}


def start(command: list[str], home: Path) -> subprocess.Popen[str]:
    """A process with a home of its own, its output to be read."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))}
    return subprocess.Popen(
        command,
        env=clean | {"FLYTERAY_HOME": str(home), "NOTES": str(home / "notes"), "COLUMNS": "200"},
        cwd=SCRIPT.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def watched(line: str) -> list[psutil.Process]:
    """The processes that a line names, as themselves: numbers are given again; one that is gone is left out."""
    found = []
    for pid in line.split():
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(int(pid)))
    return found


def left(find: Callable[[], list[Any]]) -> list[Any]:
    """What is found even after a while."""
    with contextlib.suppress(AssertionError):
        eventually(lambda: not find())
    return find()


def folders(home: Path) -> list[Path]:
    """Those of local apps."""
    return [each for each in home.glob("local-apps/*") if each.is_dir()]


def test_an_app_never_outlives_the_process_that_serves_it(tmp_path: Path) -> None:
    homes = {end: tmp_path / end for end in ENDS}
    for home in homes.values():
        home.mkdir()
    callers = {end: start([sys.executable, str(SCRIPT), end], home) for end, home in homes.items()}
    lines = {end: caller.stdout.readline() for end, caller in callers.items() if caller.stdout}
    assert [end for end, line in lines.items() if len(line.split()) != 2] == []
    processes = {end: watched(line) for end, line in lines.items()}

    for end, number in ENDS.items():
        if number is not None:
            callers[end].send_signal(number)
    codes = {end: caller.wait(120) for end, caller in callers.items()}

    assert (codes["return"], codes["exception"], codes["terminated"], codes["killed"]) == (0, 1, -15, -9)
    assert (
        left(lambda: [(end, each) for end, found in processes.items() for each in filter(runs, found)]) == []
    )
    assert [end for end, home in homes.items() if not (home / "notes").exists()] == []
    assert left(lambda: [each for home in homes.values() for each in folders(home)]) == []
    for caller in callers.values():
        caller.communicate()


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    arguments = ["serve", "--local", "-e", "GREETING=hi", "-o", "json", str(SCRIPT), "env"]
    caller = start([*COMMAND, *arguments], tmp_path)
    assert caller.stdout is not None
    assert caller.stderr is not None
    shown = ""
    while not shown.rstrip().endswith("}"):
        line = caller.stdout.readline()
        assert line, caller.communicate()[1]
        shown += line
    facts = json.loads(shown)
    processes = watched(" ".join(str(pid) for pid in httpx.get(facts["url"], timeout=60).json()))

    while "Ctrl+C stops it" not in (line := caller.stderr.readline()):
        assert line, "it has ended"
    caller.send_signal(signal.SIGINT)
    _, errors = caller.communicate(timeout=120)

    assert (facts["name"], facts["phase"]) == ("outlived", "active")
    assert caller.returncode == 0
    assert "App outlived is stopped." in errors
    assert list(filter(runs, processes)) == []


def test_a_start_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    script = tmp_path / "slow.py"
    script.write_text(
        "import threading\nfrom flyteray.app import AppEnvironment\nenv = AppEnvironment('slow', port=0)\n"
        "@env.on_startup\ndef wait() -> None:\n    print('begun', flush=True)\n    threading.Event().wait()\n"
        "@env.server\ndef serve() -> None: ...\n"
    )
    caller = start([*COMMAND, "serve", "--local", str(script), "env"], tmp_path)
    assert caller.stderr is not None
    while (line := caller.stderr.readline()) != "begun\n":
        assert line, caller.communicate()[0]

    caller.send_signal(signal.SIGINT)
    _, errors = caller.communicate(timeout=120)

    assert caller.returncode == 130
    assert "App slow is stopped." in errors
    assert folders(tmp_path) == []
