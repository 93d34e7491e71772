"""Programs without a main guard on a cluster: they fail where they are loaded first, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flyteray._cluster.local import LocalCluster
from flyteray.remote import App, Run

HEAD = """
import asyncio, threading
import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from fastapi import FastAPI

env = flyte.TaskEnvironment(name="unguarded")
web = FastAPIAppEnvironment(name="unguarded-web", app=FastAPI())

@env.task
def main(x: int = 1) -> int:
    return x
"""


BELOW = len(HEAD.splitlines()) + 1


@pytest.fixture(autouse=True)
def _on_the_cluster(cluster: LocalCluster) -> None:
    """All tests here run on the session's cluster."""


def program(folder: Path, below: str) -> subprocess.CompletedProcess[str]:
    """How `python script.py` ends."""
    path = folder / "script.py"
    path.write_text(HEAD + textwrap.dedent(below))
    return subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=120, check=False)


def runs() -> dict[str, str]:
    found = Run.listall(task_name="unguarded.main", limit=1000)
    return {run.name: str(run.info.phase) for run in found}


@pytest.mark.parametrize(
    "below",
    [
        "flyte.run(main).outputs()",
        "asyncio.run(flyte.run.aio(main)).outputs()",
        """
        found = []
        thread = threading.Thread(target=lambda: found.append(flyte.run(main)))
        thread.start()
        thread.join()
        if __name__ == "__main__":
            found[0].outputs()
        """,
        "flyte.deploy(env); flyte.run(main).outputs()",
    ],
)
def test_a_run_of_a_program_without_a_guard_fails_and_starts_no_other(tmp_path: Path, below: str) -> None:
    before = runs()

    ended = program(tmp_path, below)

    (name,) = runs().keys() - before.keys()
    assert ended.returncode == (0 if "Thread" in below else 1), ended.stderr
    if ended.returncode:
        assert f"ModuleLoadError: script.py, line {BELOW}, calls flyteray." in ended.stderr
        assert 'if __name__ == "__main__":' in ended.stderr
        assert runs()[name] == "failed"
    else:  # the program goes on where it catches what its thread is told
        assert runs()[name] == "succeeded"


def test_an_app_whose_module_serves_it_comes_not_up_and_says_why(tmp_path: Path) -> None:
    ended = program(tmp_path, "flyte.serve(web)")

    assert ended.returncode == 1
    assert f"script.py, line {BELOW}, calls flyteray.serve when its file is loaded" in ended.stderr
    App.delete("unguarded-web")


def test_a_task_starts_runs_as_any_program_does(tmp_path: Path) -> None:
    ended = program(
        tmp_path,
        """
        @env.task
        def starts(x: int) -> int:
            found = []
            thread = threading.Thread(target=lambda: found.append(flyte.run(main, x=x)))
            thread.start()
            thread.join()
            return found[0].outputs()[0] + flyte.run(main, x=1).outputs()[0]

        if "__main__" == __name__:
            print(flyte.run(starts, 41).outputs()[0])
        """,
    )

    assert ended.stdout.strip() == "42", ended.stderr
