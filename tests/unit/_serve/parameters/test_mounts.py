"""A path on a node belongs to one app at a time, and to nobody once its replicas have ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flyteray._serve.parameters.mounts import Mounts

CLAIM = """
import sys
from pathlib import Path
from flyteray._serve.parameters.mounts import Mounts
mount = Mounts(Path(sys.argv[1]), sys.argv[2]).put(Path(sys.argv[3]), Path(sys.argv[4]))
print("has", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def contents(tmp_path: Path) -> tuple[Path, Path]:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    return one, other


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "made" / "for" / "it"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return tmp_path / "node"


def content(target: Path) -> str:
    return (target / "name").read_text()


def test_a_newer_version_of_an_app_takes_its_path_over(
    node: Path, target: Path, contents: tuple[Path, Path]
) -> None:
    old = Mounts(node, "shop").put(target, contents[0])
    new = Mounts(node, "shop").put(target, contents[1])
    assert content(target) == "other"

    old.release()
    assert content(target) == "other"
    new.release()
    new.release()
    assert not target.is_symlink()


def test_a_version_that_gives_up_gives_the_path_back(
    node: Path, target: Path, contents: tuple[Path, Path]
) -> None:
    first = Mounts(node, "shop").put(target, contents[0])

    Mounts(node, "shop").put(target, contents[1]).release()

    assert content(target) == "one"
    first.release()


def test_another_app_with_other_content_is_refused_by_name(
    node: Path, target: Path, contents: tuple[Path, Path]
) -> None:
    first = Mounts(node, "shop").put(target, contents[0])

    with pytest.raises(OSError, match="app 'shop' has something else mounted there"):
        Mounts(node, "bank").put(target, contents[1])
    assert content(target) == "one"

    first.release()
    Mounts(node, "bank").put(target, contents[1])
    assert content(target) == "other"


def test_apps_share_a_path_with_the_same_content(
    node: Path, target: Path, contents: tuple[Path, Path]
) -> None:
    first = Mounts(node, "shop").put(target, contents[0])
    second = Mounts(node, "bank").put(target, contents[0])

    first.release()
    assert content(target) == "one"
    second.release()
    assert not target.is_symlink()


def test_what_a_killed_process_had_is_free_again(
    node: Path, target: Path, contents: tuple[Path, Path]
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM, str(node), "shop", str(target), str(contents[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "has\n"
    with pytest.raises(OSError, match="'shop'"):
        Mounts(node, "bank").put(target, contents[1])
    process.kill()
    process.communicate()
    assert target.is_symlink()

    Mounts(node, "bank").sweep()
    assert not target.is_symlink()


def test_an_empty_directory_and_a_link_to_nowhere_make_way(
    node: Path, target: Path, contents: tuple[Path, Path], tmp_path: Path
) -> None:
    target.mkdir(parents=True)
    Mounts(node, "shop").put(target, contents[0]).release()
    target.symlink_to(tmp_path / "nowhere")

    Mounts(node, "shop").put(target, contents[0])

    assert content(target) == "one"


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_not_ours_stays(node: Path, target: Path, contents: tuple[Path, Path], kind: str) -> None:
    target.parent.mkdir(parents=True)
    if kind == "file":
        target.write_text("precious")
    elif kind == "directory":
        target.mkdir()
        (target / "name").write_text("precious")
    else:
        target.symlink_to(contents[1])

    with pytest.raises(FileExistsError, match="something else already"):
        Mounts(node, "shop").put(target, contents[0])

    assert list(node.glob("*.json")) == []
    assert target.exists()


def test_a_place_that_cannot_be_written_is_an_error(node: Path, contents: tuple[Path, Path]) -> None:
    with pytest.raises(OSError, match="/proc"):
        Mounts(node, "shop").put(Path("/proc/nowhere/x"), contents[0])
