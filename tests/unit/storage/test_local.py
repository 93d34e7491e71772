"""A disk that refuses is told in words, and nothing half written stays on it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray.errors import StorageError
from flyteray.io import File
from flyteray.storage import open_storage
from flyteray.storage.values import write_value
from tests.disks import mounted

MIB = 1024 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "disk").mkdir()
    with mounted(tmp_path / "disk") as folder:
        yield folder


@pytest.fixture
def read_only(small: Path) -> Path:
    open_storage(small).put("there", b"one")
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    return small


def test_a_full_disk_is_told_and_keeps_what_was_there(small: Path, tmp_path: Path) -> None:
    storage = open_storage(small)
    storage.put("a", b"one")
    (tmp_path / "large").write_bytes(bytes(2 * MIB))
    full = rf"Storage {small} did not let us write '.': no space is left on its disk"

    with pytest.raises(StorageError, match=full):
        storage.put("a", os.urandom(2 * MIB))
    with pytest.raises(StorageError, match=full):
        storage.put_file("b", tmp_path / "large")
    with pytest.raises(StorageError, match=full):
        write_value(storage, "c", os.urandom(2 * MIB))
    with pytest.raises(StorageError, match=full):
        write_lines(small / "d")

    assert [path.name for path in small.rglob("*")] == ["a"]
    assert storage.get("a") == b"one"


def write_lines(path: Path) -> None:
    with File(path=str(path)).open_sync("w") as file:
        for _ in range(2 * MIB // 16):
            file.write("sixteen letters\n")


def test_a_download_to_a_full_disk_names_the_disk(small: Path, tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "storage")
    storage.put("large", bytes(2 * MIB))

    with pytest.raises(StorageError, match=rf"^{small}/here can't be written: no space is left"):
        storage.get_file("large", small / "here")

    assert list(small.iterdir()) == []


def test_a_read_only_disk_is_told(read_only: Path) -> None:
    storage = open_storage(read_only)

    for write in (lambda: storage.put("a", b""), lambda: storage.put("new/a", b"")):
        with pytest.raises(
            StorageError, match=r"did not let us write '.*a': its disk is mounted read-only\. Mount"
        ):
            write()
    with pytest.raises(StorageError, match="did not let us delete 'there': its disk is mounted read-only"):
        storage.delete("there")
    assert storage.get("there") == b"one"


def test_a_full_disk_of_somebody_else_is_not_taken_for_the_storage(small: Path, tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "storage")

    def write() -> None:
        with storage.writer("a"):
            (small / "b").write_bytes(bytes(2 * MIB))

    with pytest.raises(OSError, match="No space left on device"):
        write()
