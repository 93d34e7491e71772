"""Replicas of a node share what they fetch: one download, whole or not at all, gone with its last user."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._serve.parameters import downloads
from flyteray._serve.parameters.downloads import Downloads
from flyteray.storage.local import LocalStorage
from tests.waiting import eventually

HOLD = """
import logging, sys
from pathlib import Path
from flyteray._serve.parameters.downloads import Downloads
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
held = Downloads(Path(sys.argv[1])).directory(sys.argv[2])
print("has", sum(1 for path in held.path.rglob("*") if path.is_file()), flush=True)
sys.stdin.read()
held.release()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for number in range(20):
        (root / f"deep{number % 3}").mkdir(parents=True, exist_ok=True)
        (root / f"deep{number % 3}" / f"{number}.bin").write_bytes(os.urandom(100_000))
    (root / "b.log").write_text("log")
    return root


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return tmp_path / "node"


@pytest.fixture
def replicas(node: Path, tree: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", HOLD, str(node), str(tree)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    yield started
    for process in started:
        process.kill()
        process.communicate()


def there(node: Path) -> list[str]:
    return sorted(path.name for path in node.iterdir())


def test_replicas_that_start_together_make_one_download_and_leave_nothing(
    replicas: list[subprocess.Popen[str]], node: Path
) -> None:
    said = []
    for process in replicas:
        assert process.stdout is not None
        while not (line := process.stdout.readline()).startswith("has"):
            assert line, "it has ended"
            said.append(line)
        assert line == "has 21\n"
    assert sum(line.startswith("Fetched") for line in said) == 1
    first, second, third = replicas

    first.kill()
    first.wait()
    second.communicate("")
    assert len(there(node)) == 2  # one entry with its lock: the third uses it
    third.communicate("")

    assert there(node) == []


def test_what_a_killed_replica_had_is_there_for_the_next(node: Path, tree: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(node), str(tree)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: len(there(node)) == 2 if node.exists() else False)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("has"):
        pass
    process.kill()
    process.communicate()
    entry = next(path for path in node.iterdir() if path.is_dir())
    inode = entry.stat().st_ino

    held = Downloads(node).directory(str(tree))

    assert held.path.stat().st_ino == inode
    held.release()
    held.release()
    assert there(node) == []


def test_files_are_shared_and_nobodys_to_change(node: Path, tree: Path) -> None:
    one, other = (Downloads(node).file(str(tree / "b.log")) for _ in range(2))

    assert one.path == other.path
    assert one.path.read_text() == "log"
    assert one.path.stat().st_mode & 0o777 == 0o400
    one.release()
    assert other.path.exists()
    other.release()


def test_other_content_and_other_patterns_are_fetched_anew(node: Path, tree: Path) -> None:
    downloads = Downloads(node)
    whole, part = downloads.directory(str(tree)), downloads.directory(str(tree), ("*.log", "deep1"))
    (tree / "b.log").write_text("more")
    changed = downloads.directory(str(tree))

    assert len({whole.path, part.path, changed.path}) == 3
    assert (whole.path / "b.log").read_text() == "log"
    assert (changed.path / "b.log").read_text() == "more"
    assert not (part.path / "b.log").exists()
    assert {path.name for path in part.path.iterdir()} == {"deep0", "deep2"}


class Restless(LocalStorage):
    """Storage in which something happens while a file is copied."""

    def __init__(self, folder: Path, happens: str) -> None:
        super().__init__(folder)
        self.happens = happens

    def get_file(self, key: str, path: Path) -> None:
        super().get_file(key, path)
        folder = Path(self.url)
        if self.happens == "changes":
            (folder / "b.log").write_text("other")
        elif self.happens == "goes":
            (folder / "b.log").unlink(missing_ok=True)
        else:
            (folder / "new.bin").write_text("new")


@pytest.mark.parametrize(
    ("happens", "named"), [("changes", "b.log"), ("goes", "b.log"), ("comes", "new.bin")]
)
def test_a_directory_that_changes_meanwhile_is_refused_by_the_file(
    node: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, happens: str, named: str
) -> None:
    monkeypatch.setattr(downloads, "open_storage", lambda _: Restless(tree, happens))

    with pytest.raises(OSError, match=named):
        Downloads(node).directory(str(tree))

    assert [name for name in there(node) if not name.endswith(".lock")] == []


def test_a_file_that_changes_meanwhile_is_refused(
    node: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "locate_file", lambda _: (Restless(tree, "changes"), "b.log"))

    with pytest.raises(OSError, match=r"b\.log changed while it was fetched"):
        Downloads(node).file(str(tree / "b.log"))


def test_what_is_missing_is_named(node: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none"):
        Downloads(node).file(str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"nothing is stored below .*none"):
        Downloads(node).directory(str(tmp_path / "none"))


def test_an_empty_directory_is_one(node: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    held = Downloads(node).directory(str(tmp_path / "empty"))

    assert list(held.path.iterdir()) == []


def test_what_was_left_unfinished_goes_with_the_next_download(node: Path, tree: Path) -> None:
    (node / ".tmp-0123").mkdir(parents=True)
    (node / ".tmp-0123" / "half").write_text("ha")

    Downloads(node).file(str(tree / "b.log")).release()

    assert there(node) == []


def test_what_a_killed_replica_had_goes_once_nobody_has_used_it_for_a_while(
    node: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloads = Downloads(node)
    used = downloads.directory(str(tree))
    left = [node / "0123", node / "0123.lock", node / "4567.lock"]  # the last is of a download that failed
    left[0].mkdir()
    for lock in left[1:]:
        lock.touch()

    downloads.sweep()
    assert all(path.exists() for path in left)
    monkeypatch.setattr("flyteray._serve.parameters.downloads._UNUSED_S", -1.0)
    downloads.sweep()

    assert not any(path.exists() for path in left)
    assert used.path.exists()


def test_what_is_used_again_in_time_stays(node: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = Downloads(node)
    first = downloads.directory(str(tree))
    first.lock.close()  # as if its process was killed
    downloads.sweep()  # finds it unused
    monkeypatch.setattr("flyteray._serve.parameters.downloads._UNUSED_S", -1.0)

    downloads.directory(str(tree)).lock.close()
    downloads.sweep()

    assert first.path.exists()


def test_long_downloads_are_told_of(
    node: Path, tree: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flyteray._serve.parameters.downloads._TELL_EVERY_S", 0.001)

    class Slow(LocalStorage):
        def get_file(self, key: str, path: Path) -> None:
            super().get_file(key, path)
            eventually(lambda: "Fetching" in caplog.text)

    monkeypatch.setattr(downloads, "locate_file", lambda _: (Slow(tree), "b.log"))
    with caplog.at_level(logging.INFO, "flyteray"):
        Downloads(node).file(str(tree / "b.log"))

    assert "Fetched" in caplog.text
