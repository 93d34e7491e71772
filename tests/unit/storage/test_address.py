from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from flyteray.errors import RuntimeSystemError
from flyteray.storage import Storage, locate_file, open_storage
from flyteray.storage.copies import Copies
from flyteray.storage.objects import ObjectStorage


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "made on the first write")
    return ObjectStorage("s3://bucket/prefix", MemoryStore())


def test_bytes_come_back(storage: Storage) -> None:
    storage.put("a/b", b"one")
    storage.put("a/b", b"two")

    assert storage.get("a/b") == b"two"
    assert storage.exists("a/b")
    assert not storage.exists("a")


def test_keys_are_listed_with_those_of_inner_folders(storage: Storage) -> None:
    for key in ["b", "a/2", "a/1", "a/x/3", "ab/4"]:
        storage.put(key, b"")

    assert list(storage.list()) == ["a/1", "a/2", "a/x/3", "ab/4", "b"]
    assert list(storage.list("a")) == ["a/1", "a/2", "a/x/3"]
    assert list(storage.list("none")) == []


def test_content_has_one_name_whether_asked_for_alone_or_with_others(storage: Storage) -> None:
    for key in ("a", "b/c", "b/d"):
        storage.put(key, key.encode())

    assert list(storage.fingerprints(lambda key: key != "b/d")) == [
        (key, storage.fingerprint(key)) for key in ("a", "b/c")
    ]
    assert storage.fingerprint("a") != storage.fingerprint("b/c")


def test_a_folder_is_deleted_with_all_in_it_and_what_begins_like_it_stays(storage: Storage) -> None:
    for key in ("runs/r/a", "runs/r/b/c", "runs/r2/a"):
        storage.put(key, b"x")

    storage.delete_folder("runs/r")
    storage.delete_folder("runs/r")

    assert list(storage.list()) == ["runs/r2/a"]


def test_a_deleted_key_is_gone_and_may_be_deleted_again(storage: Storage) -> None:
    storage.put("a", b"")

    storage.delete("a")
    storage.delete("a")

    assert not storage.exists("a")


def test_a_file_is_kept_and_found_as_a_local_file(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_bytes(b"x" * 100_000)

    storage.put_file("deep/er/data.bin", source)
    copies = Copies(tmp_path / "cache")
    with storage.local_file("deep/er/data.bin", copies) as found:
        assert found.read() == source.read_bytes()
        with storage.local_file("deep/er/data.bin", copies) as again:
            assert found.name == again.name


def test_a_replaced_object_is_downloaded_anew(tmp_path: Path) -> None:
    storage = ObjectStorage("s3://bucket", MemoryStore())
    storage.put("a", b"one")
    storage.local_file("a", Copies(tmp_path)).close()

    storage.put("a", b"two")

    with storage.local_file("a", Copies(tmp_path)) as found:
        assert found.read() == b"two"


def test_a_reader_seeks(storage: Storage) -> None:
    storage.put("lines", b"one\ntwo\nthree\n")

    with storage.reader("lines") as file:
        assert file.readline() == b"one\n"
        file.seek(-6, os.SEEK_END)
        assert file.read() == b"three\n"
        assert file.tell() == 14


def test_an_error_of_the_one_who_reads_is_passed_on(storage: Storage) -> None:
    storage.put("a", b"")

    with pytest.raises(FileNotFoundError, match="another file"), storage.reader("a"):
        raise FileNotFoundError("another file")


def test_a_failed_write_leaves_nothing(storage: Storage) -> None:
    def fail() -> None:
        with storage.writer("a") as file:
            file.write(b"half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail()
    assert list(storage.list()) == []


@pytest.mark.parametrize("read", ["get", "local_file"])
def test_a_missing_key_is_named_with_its_storage(storage: Storage, read: str, tmp_path: Path) -> None:
    storage.put("here", b"")
    arguments = [] if read == "get" else [Copies(tmp_path)]

    with pytest.raises(FileNotFoundError, match=rf"'a/b' in storage {storage.url}"):
        getattr(storage, read)("a/b", *arguments)


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../up", "a\0b"])
def test_a_key_can_not_leave_its_storage(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key in storage"):
        storage.put(key, b"")
    with pytest.raises(ValueError, match="is not a key in storage"):
        storage.get(key)


def test_a_full_path_is_made_of_url_and_key(tmp_path: Path) -> None:
    assert open_storage(tmp_path).join("runs", "r1/") == f"{tmp_path}/runs/r1"
    assert open_storage("s3://bucket/a/").join("b") == "s3://bucket/a/b"


def test_a_folder_is_given_in_three_ways(tmp_path: Path) -> None:
    (tmp_path / "with space").mkdir()
    expected = str(tmp_path / "with space")

    urls = [
        open_storage(tmp_path / "with space").url,
        open_storage(expected).url,
        open_storage(f"file://{expected.replace(' ', '%20')}").url,
    ]

    assert urls == [expected] * 3


def test_a_relative_folder_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage("data")

    monkeypatch.chdir("/")

    assert storage.url == str(tmp_path / "data")


@pytest.mark.parametrize(
    ("url", "storage", "key"),
    [
        ("/a/b/c.txt", "/a/b", "c.txt"),
        ("/c.txt", "/", "c.txt"),
        ("file:///c.txt", "/", "c.txt"),
        ("s3://bucket/c.txt", "s3://bucket", "c.txt"),
        ("gcs://bucket/d/c.txt", "gs://bucket/d", "c.txt"),
        ("https://example.com/d/c.txt", "https://example.com/d", "c.txt"),
    ],
)
def test_a_file_is_located_in_a_storage(url: str, storage: str, key: str) -> None:
    found, name = locate_file(url)

    assert (found.url, name) == (storage, key)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("ftp://host/x", "unknown kind 'ftp'.*use a plain path or one of file://, s3://"),
        ("", "is empty"),
        ("az://container/x", "can't be opened: .*Account must be specified"),
    ],
)
def test_a_bad_url_is_refused(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        open_storage(url)


def test_a_bucket_alone_is_no_file() -> None:
    with pytest.raises(ValueError, match="names a whole bucket"):
        locate_file("s3://bucket")


def test_an_unreachable_object_store_says_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_SKIP_SIGNATURE": "true",
    }.items():
        monkeypatch.setenv(name, value)
    from obstore.store import S3Store

    storage = ObjectStorage("s3://bucket", S3Store("bucket", retry_config={"max_retries": 0}))

    with pytest.raises(
        RuntimeSystemError, match=r"s3://bucket did not let us read 'a': 127.0.0.1:9 can't be"
    ):
        storage.exists("a")


def test_a_storage_travels_as_its_url(tmp_path: Path) -> None:
    assert pickle.loads(pickle.dumps(open_storage(tmp_path))).url == str(tmp_path)


def test_local_storage_does_not_load_the_object_store_client(tmp_path: Path) -> None:
    code = f"""
import sys
from flyteray.storage import Storage, locate_file, open_storage
open_storage({str(tmp_path)!r}).put("a", b"")
print("obstore" in sys.modules)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"


def test_files_are_readable_by_others_where_their_folder_is_as_the_umask_says(tmp_path: Path) -> None:
    for mode in (0o755, 0o700):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        open_storage(folder).put("below/a", b"")
        (folder / "plain").touch()

        as_any = (folder / "plain").stat().st_mode & 0o777
        assert (folder / "below/a").stat().st_mode & 0o777 == (as_any if mode == 0o755 else 0o600)
