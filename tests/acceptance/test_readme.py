"""README's code blocks, run in order by a user with a terminal; then its main job once more after a restart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())


class Terminal:
    """A shell in a folder of its own, with this environment's programs first on its path and a home of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))
        }
        self.environment = clean | {
            "FLYTERAY_HOME": str(home),
            "FLYTERAY_NUM_CPUS": "2",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTEST_ADDOPTS": "--collect-only --quiet",  # the tests are running already
        }

    def run(self, script: str) -> str:
        done = subprocess.run(
            # What is installed stays as it is: .ci/run is where the install command itself runs.
            ["bash", "-euo", "pipefail", "-c", f'pip() {{ [ "$1" = install ]; }}\n{script}'],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """One terminal for the whole README; the cluster that its commands start ends with it."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        (folder / path.name).symlink_to(path)
    terminal = Terminal(folder, tmp_path_factory.mktemp("home"))
    yield terminal
    terminal.run("flyteray down")


@pytest.mark.timeout(600)  # all of the page
def test_every_block_runs_in_the_order_of_the_page(terminal: Terminal) -> None:
    written: list[str] = []
    for kind, text in BLOCKS:
        if kind == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            (terminal.folder / name).write_text(text)
            written.append(name)
        elif kind == "sh":
            terminal.run(text)

    assert written == ["hello.py", "search.py", "weights.py", "notes.py"]


@pytest.fixture(scope="module")
def printed(terminal: Terminal) -> list[str]:
    """What the main job prints."""
    return terminal.run("python examples/train_and_serve.py").splitlines()


def test_the_main_job_prints_what_the_readme_shows(printed: list[str]) -> None:
    shown = next(text for kind, text in BLOCKS if kind == "text").splitlines()

    assert [line.split()[0] for line in printed] == [line.split()[0] for line in shown]


def test_the_accuracy_through_the_app_is_above_nine_tenths(printed: list[str]) -> None:
    accuracy = next(line for line in printed if line.startswith("Accuracy:"))

    assert float(accuracy.split()[1]) > 0.9


def test_the_pasted_line_answers_also_after_a_restart_of_the_cluster(
    terminal: Terminal, printed: list[str]
) -> None:
    before = terminal.run(printed[-1])

    terminal.run("flyteray down")
    started = time.monotonic()
    terminal.run("flyteray up")
    eventually(lambda: _answers(terminal, printed[-1]), timeout=60)

    assert '{"digit":' in before
    assert terminal.run(printed[-1]) == before
    assert time.monotonic() - started < 60
    runs = terminal.run(
        "python -c 'import flyteray.remote as r; print([len(x.outputs()) for x in r.Run.listall()])'"
    )
    assert runs.startswith("[1, ")


def _answers(terminal: Terminal, curl: str) -> bool:
    return terminal.run(curl).startswith('{"digit":')
