"""The end of a process's own log."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import os, subprocess, sys
print("before")
sys.stdout.flush()
from flyteray._serve.log_tail import LogTail
log = LogTail()
print("out")
print(":actor_name:ServeReplica:a", file=sys.stderr)
print("(INFO 2026-11-23 05:48:22,1 a 1 -- Started.", file=sys.stderr)
subprocess.run(["sh", "-c", "echo from a child >&2"])
for number in range(30):
    print("line", number, file=sys.stderr)
with open(sys.argv[1], "w") as file:
    file.write(log.tail())
"""


def run(folder: Path, *, same: bool) -> list[str]:
    tail = folder / "tail"
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        subprocess.run(
            [sys.executable, "-c", CODE, str(tail)], stdout=out, stderr=out if same else err, check=True
        )
    return tail.read_text().splitlines()


def test_it_ends_with_the_last_lines_of_standard_error(tmp_path: Path) -> None:
    lines = run(tmp_path, same=False)

    assert lines[0] == "out"
    assert lines[1:] == [f"line {number}" for number in range(10, 30)]


def test_one_file_for_both_is_read_once(tmp_path: Path) -> None:
    lines = run(tmp_path, same=True)

    assert lines == [f"line {number}" for number in range(10, 30)]


def test_there_is_nothing_where_the_output_is_a_pipe(tmp_path: Path) -> None:
    tail = tmp_path / "tail"
    subprocess.run([sys.executable, "-c", CODE, str(tail)], capture_output=True, check=True)

    assert tail.read_text() == ""
