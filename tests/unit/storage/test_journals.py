from __future__ import annotations

import os
import resource
from collections import namedtuple
from pathlib import Path

import psutil
import pytest
from obstore.store import MemoryStore

from flyteray.storage import Storage, open_storage
from flyteray.storage.journals import Journals, JournalWriter
from flyteray.storage.local import LocalStorage
from flyteray.storage.objects import ObjectStorage

FOLDER = "runs/r/journals"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path)


def append(writer: JournalWriter, storage: Storage, key: str, value: bytes) -> bool:
    return writer.append(storage, FOLDER, key, memoryview(value))


def test_what_several_processes_append_is_read_as_one(storage: Storage, tmp_path: Path) -> None:
    first, second = JournalWriter(), JournalWriter()
    journals = Journals(storage, FOLDER)
    assert journals.find("a") is None

    assert append(first, storage, "a", b"1")
    assert append(second, storage, "b", b"")
    assert journals.find("a") == b"1"
    assert append(first, storage, "ü c/d", b"3" * 10_000)

    assert [journals.find(key) for key in ("a", "b", "ü c/d", "e")] == [b"1", b"", b"3" * 10_000, None]
    assert len(list((tmp_path / FOLDER).iterdir())) == 2


def test_of_one_key_the_latest_counts(storage: Storage) -> None:
    writers = [JournalWriter() for _ in range(5)]
    for number, writer in enumerate(writers):
        append(writer, storage, "a", b"%d" % number)
    append(writers[2], storage, "a", b"last")

    assert Journals(storage, FOLDER).find("a") == b"last"


def test_a_record_that_is_cut_off_is_none_until_it_is_whole(storage: Storage, tmp_path: Path) -> None:
    writer = JournalWriter()
    append(writer, storage, "a", b"first")
    (path,) = (tmp_path / FOLDER).iterdir()
    start = path.stat().st_size
    append(writer, storage, "b", b"second")
    whole = path.read_bytes()
    growing = Journals(storage, FOLDER)

    for size in range(start, len(whole)):
        path.write_bytes(whole[:size])
        assert growing.find("a") == b"first"
        assert growing.find("b") is None
    path.write_bytes(whole)
    assert growing.find("b") == b"second"


def test_bytes_that_have_changed_are_no_record(storage: Storage, tmp_path: Path) -> None:
    append(JournalWriter(), storage, "a", b"value")
    (path,) = (tmp_path / FOLDER).iterdir()
    whole = path.read_bytes()

    for at in range(len(whole)):
        if 16 <= at < 24:  # the time: it is nobody's value
            continue
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert Journals(storage, FOLDER).find("a") is None


def test_a_full_disk_hides_nothing_that_is_kept_later(storage: Storage) -> None:
    writer = JournalWriter()
    append(writer, storage, "before", b"1")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            append(writer, storage, "torn", b"2" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    append(writer, storage, "after", b"3")

    journals = Journals(storage, FOLDER)
    assert [journals.find(key) for key in ("before", "torn", "after")] == [b"1", None, b"3"]


def test_a_storage_that_can_not_append_says_so_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ObjectStorage("memory:///", MemoryStore())
    assert not append(JournalWriter(), memory, "a", b"1")
    assert list(memory.list()) == []

    mounted = namedtuple("mounted", "mountpoint fstype")
    bucket = tmp_path / "bucket"
    mounts = [mounted("/", "ext4"), mounted(str(bucket), "fuse.gcsfuse")]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert not append(JournalWriter(), LocalStorage(bucket / "team"), "a", b"1")
    assert not bucket.exists()
    assert append(JournalWriter(), LocalStorage(tmp_path / "disk"), "a", b"1")


def test_a_journal_is_as_private_as_its_folder(tmp_path: Path) -> None:
    for mode in (0o700, 0o755):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir(mode=mode)
        old = os.umask(0o022)
        try:
            append(JournalWriter(), open_storage(folder), "a", b"1")
        finally:
            os.umask(old)
        (path,) = (folder / FOLDER).iterdir()
        assert path.stat().st_mode & 0o777 == (0o600 if mode == 0o700 else 0o644)
