"""How a child process that user code forks ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from flyteray._tasks.forks import ForkExit

with ForkExit():
    child = os.fork()
    if child == 0:
        {leave}
print("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    ("leave", "status", "said"),
    [
        ("sys.exit(7)", 7, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit('no data')", 1, "no data"),
        ("raise ValueError('in the child')", 1, "ValueError: in the child"),
        ("print('work', flush=False)", 0, ""),
    ],
)
def test_a_forked_child_ends_where_it_leaves_the_code_and_the_parent_goes_on(
    leave: str, status: int, said: str
) -> None:
    program = PROGRAM.format(leave=leave)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.count("parent") == 1
    assert f"parent {status}" in done.stdout
    assert said in done.stderr
    assert ("work" in done.stdout) == leave.startswith("print")


def test_what_forks_nothing_is_let_alone() -> None:
    program = """
from flyteray._tasks.forks import ForkExit
with ForkExit():
    raise SystemExit("its own")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (1, "its own")
