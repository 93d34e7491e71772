from __future__ import annotations

import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from obstore.store import MemoryStore

from flyteray.storage.copies import Copies
from flyteray.storage.local import downloading
from flyteray.storage.objects import ObjectStorage
from flyteray.storage.values import read_value, write_value


def use(copies: Copies, name: str, size: int = 100) -> bool:
    """Use a copy, some time after those before; whether it had to be fetched."""
    fetched = []

    def fetch(path: Path) -> None:
        fetched.append(path)
        with downloading(path) as file:
            file.write(bytes(size))

    with copies.open(name, size, fetch) as file:
        assert len(file.read()) == size
        os.utime(file.fileno(), (use.clock, use.clock))  # type: ignore[attr-defined]
        use.clock += 1  # type: ignore[attr-defined]
    return bool(fetched)


use.clock = 1_000_000.0  # type: ignore[attr-defined]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_those_used_longest_ago_make_room_for_a_new_one(tmp_path: Path) -> None:
    copies = Copies(tmp_path, limit=300)
    assert [use(copies, name) for name in "abc"] == [True, True, True]
    assert not use(copies, "a")

    assert use(copies, "d")

    assert names(tmp_path) == set("acd")


def test_one_that_is_larger_than_the_limit_is_kept_until_the_next(tmp_path: Path) -> None:
    copies = Copies(tmp_path, limit=300)

    assert use(copies, "large", 1000)
    assert not use(copies, "large", 1000)
    assert use(copies, "a")

    assert names(tmp_path) == {"a"}


def test_one_that_is_open_or_mapped_stays_in_other_processes_too(tmp_path: Path) -> None:
    copies = Copies(tmp_path, limit=300)
    for name in "abc":
        use(copies, name)
    opened = copies.open("a", 100, lambda _: None)
    with copies.open("b", 100, lambda _: None) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    for name in "ab":
        os.utime(tmp_path / name, (0, 0))
    program = """
import sys
from pathlib import Path
from flyteray.storage.copies import Copies
Copies(Path(sys.argv[1]), 300).open("d", 300, lambda path: path.write_bytes(bytes(300)))
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)

    assert names(tmp_path) == set("abd")
    opened.close()
    mapped.close()
    use(copies, "e")
    assert names(tmp_path) == {"e"}


def test_what_a_killed_download_left_goes_and_one_that_goes_on_stays(tmp_path: Path) -> None:
    (tmp_path / ".tmp-left").write_bytes(bytes(300))
    (tmp_path / ".tmp-writing").write_bytes(bytes(300))
    os.utime(tmp_path / ".tmp-left", (0, time.time() - 7200))

    use(Copies(tmp_path, limit=300), "a")

    assert names(tmp_path) == {".tmp-writing", "a"}


def test_the_limit_is_that_of_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    monkeypatch.setenv("FLYTERAY_CACHE_SIZE", "250")

    for name in "abcd":
        use(Copies(), name)

    assert names(tmp_path / "cache") == set("cd")


def test_arrays_of_a_value_keep_its_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYTERAY_CACHE_SIZE", "1")
    storage = ObjectStorage("s3://bucket", MemoryStore())
    for name in "ab":
        write_value(storage, name, np.arange(5000))

    first = read_value(storage, "a", tmp_path)
    read_value(storage, "b", tmp_path)
    assert len(names(tmp_path)) == 2
    assert first[-1] == 4999

    del first
    write_value(storage, "c", 1)
    read_value(storage, "c", tmp_path)
    assert len(names(tmp_path)) == 1


def test_many_processes_share_a_folder_that_is_always_too_small(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from flyteray.storage.copies import Copies
from flyteray.storage.local import downloading
def fetch(path):
    with downloading(path) as file:
        file.write(path.name.encode() * 100)
for number in range(150):
    name = str(number * int(sys.argv[2]) % 7)
    with Copies(Path(sys.argv[1]), 250).open(name, 100, fetch) as file:
        assert file.read() == name.encode() * 100
"""
    command = [sys.executable, "-c", program, str(tmp_path / "copies")]
    processes = [subprocess.Popen([*command, str(step)]) for step in (1, 2, 3)]

    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(names(tmp_path / "copies")) <= 5  # the limit, and what each of them had open last
