"""What is left of local apps when the process that serves them has ended: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from tests.acceptance.command import COMMAND
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


def test_an_app_never_outlives_the_process_that_serves_it(tmp_path: Path) -> None:
    homes = {end: tmp_path / end for end in ENDS}
    for home in homes.values():
        home.mkdir()
    callers = {end: start([sys.executable, str(SCRIPT), end], home) for end, home in homes.items()}
    pids = {
        end: [int(pid) for pid in (caller.stdout or []).readline().split()] for end, caller in callers.items()
    }  # type: ignore[union-attr]
    assert [end for end, found in pids.items() if len(found) != 2] == []

    for end, number in ENDS.items():
        if number is not None:
            callers[end].send_signal(number)
    codes = {end: caller.wait(60) for end, caller in callers.items()}

    assert (codes["return"], codes["exception"], codes["terminated"], codes["killed"]) == (0, 1, -15, -9)
    eventually(lambda: not [pid for found in pids.values() for pid in found if psutil.pid_exists(pid)])
    assert [end for end, home in homes.items() if not (home / "notes").exists()] == []
    eventually(lambda: not [each for home in homes.values() for each in home.glob("local-apps/*/")])
    for caller in callers.values():
        caller.communicate()


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    arguments = ["serve", "--local", "-e", "GREETING=hi", "-o", "json", str(SCRIPT), "env"]
    caller = start([*COMMAND, *arguments], tmp_path)
    assert caller.stdout is not None
    shown = ""
    while not shown.rstrip().endswith("}"):
        line = caller.stdout.readline()
        assert line, caller.communicate()[1]
        shown += line
    facts = json.loads(shown)
    pids = httpx.get(facts["url"]).json()

    caller.send_signal(signal.SIGINT)
    _, errors = caller.communicate(timeout=60)

    assert (facts["name"], facts["phase"]) == ("outlived", "active")
    assert caller.returncode == 0
    assert "App outlived is stopped." in errors
    assert [pid for pid in pids if psutil.pid_exists(pid)] == []
