from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyteray._cluster.workers.code import Workplace, furnish

OTHER = """
import sys
from pathlib import Path
from flyteray._cluster.workers.code import Workplace
place = Workplace(Path(sys.argv[1]))
place.enter()
print(Path.cwd(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An unpacked bundle, and a node's folder beside it."""
    monkeypatch.setenv("FLYTERAY_CACHE", str(tmp_path / "node"))
    folder = tmp_path / "bundle"
    for name in ("main.py", "data/x.txt", ".flyteray/paths", "__pycache__/main.pyc"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    before = Path.cwd()
    yield folder
    os.chdir(before)


def test_shipped_files_open_by_their_relative_paths_and_what_is_written_stays_apart(code: Path) -> None:
    place = Workplace(code)

    place.enter()
    Path("out.txt").write_text("mine")

    assert sorted(os.listdir(".")) == ["data", "main.py", "out.txt"]
    assert Path("data/x.txt").read_text() == "data/x.txt"
    assert not (code / "out.txt").exists()


def test_the_next_action_finds_what_the_first_one_found(code: Path) -> None:
    place = Workplace(code)
    place.enter()
    Path("left/behind").mkdir(parents=True)
    os.unlink("main.py")

    place.tidy()
    place.enter()

    assert sorted(os.listdir(".")) == ["data", "main.py"]
    assert (code / "main.py").exists()


def test_a_folder_keeps_what_it_has_already(code: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/main.py").write_text("mine")

    furnish(tmp_path / "own", code)

    assert (tmp_path / "own/main.py").read_text() == "mine"
    assert (tmp_path / "own/data/x.txt").exists()


def test_folders_of_processes_that_were_killed_are_removed_and_those_of_others_are_not(code: Path) -> None:
    def other() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    alive, kept = other()
    killed, abandoned = other()
    killed.kill()
    killed.communicate()
    assert abandoned.is_dir()

    Workplace(code)

    assert not abandoned.exists()
    assert kept.is_dir()
    alive.communicate()


def test_one_that_is_just_being_made_is_not_abandoned(code: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(Workplace, [code] * 200))

    for place in places:
        place.enter()
        assert sorted(os.listdir(".")) == ["data", "main.py"]
