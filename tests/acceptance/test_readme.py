"""README's code blocks, run in order by a user with a terminal; then what its main job left, after a restart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
MAIN_JOB = "examples/train_and_serve.py"
NOTEBOOK = "notebook.py"  # its cells await, as only an interactive Python can
BLOCK = re.compile(r"^```(sh|python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
# What is installed stays as it is, and the tests run already: .ci/run is where that command itself runs.
STUBS = 'pip() { [ "$1" = install ]; }\npytest() { [ $# = 0 ]; }\n'

pytestmark = pytest.mark.timeout(600)  # all of the page


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
        }

    def run(self, script: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", STUBS + script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Page:
    """What has been seen when all blocks of the page have run.

    ``printed`` is what the main job printed, ``answer`` what its last line gave when it was pasted,
    ``cells`` what the notebook did.
    """

    written: list[str]
    printed: list[str]
    answer: str
    cells: list[str]


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """One terminal for the whole README; the cluster that its commands start ends with it."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        (folder / path.name).symlink_to(path)
    terminal = Terminal(folder, tmp_path_factory.mktemp("home"))
    yield terminal
    terminal.run("flyteray down")


@pytest.fixture(scope="module")
def page(terminal: Terminal) -> Page:
    """The page, run from its top to its end."""
    written, printed, answer, cells = [], [""], "", []
    for kind, text in BLOCKS:
        if kind == "python":
            written.append(name := text.partition("\n")[0].removeprefix("# ").partition(":")[0])
            (terminal.folder / name).write_text(text)
            if name == NOTEBOOK:
                cells = terminal.run(f"python -m asyncio < {NOTEBOOK}").splitlines()
        elif kind == "sh":
            shown = terminal.run(text)
            if MAIN_JOB in text:
                printed = shown.splitlines()
                answer = terminal.run(printed[-1])
    return Page(written, printed, answer, cells)


def test_every_block_runs_in_the_order_of_the_page(page: Page) -> None:
    assert page.written == ["hello.py", "notebook.py"]


def test_the_cells_of_the_notebook_print_their_results(page: Page) -> None:
    said = [line.split()[-1] for line in page.cells if line.strip()]
    assert [word for word in said if word not in (">>>", "...")] == ["9", "16"]


def test_the_main_job_prints_what_the_readme_shows(page: Page) -> None:
    shown = next(text for kind, text in BLOCKS if kind == "text").splitlines()

    assert [line.split()[0] for line in page.printed] == [line.split()[0] for line in shown]


def test_the_accuracy_through_the_app_is_above_nine_tenths(page: Page) -> None:
    accuracy = next(line for line in page.printed if line.startswith("Accuracy:"))

    assert float(accuracy.split()[1]) > 0.9


def test_the_pasted_line_answers_also_after_a_restart_of_the_cluster(terminal: Terminal, page: Page) -> None:
    assert '{"digit":' in page.answer

    terminal.run("flyteray up")  # the page ends with `flyteray down`
    eventually(lambda: terminal.run(page.printed[-1]) == page.answer, timeout=200, every=0.5)

    runs = terminal.run(
        "python -c 'import flyteray.remote as r; print([len(x.outputs()) for x in r.Run.listall()])'"
    )
    assert runs.startswith("[1, ")
