"""Objects are kept on a real S3-compatible server, and its refusals are told in words."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from flyteray.errors import StorageError
from flyteray.io import Dir, File
from flyteray.storage import Storage, open_storage
from flyteray.storage.values import read_value, write_value
from tests.s3_server import BUCKET, Front, S3Server

MIB = 1024 * 1024

Use = Callable[..., Storage]


@pytest.fixture
def use(s3: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Use:
    """Opens a storage of the test's own with somebody's credentials, through a front or not."""

    def opened(
        who: dict[str, str] | None = None, front: Front | None = None, bucket: str = BUCKET
    ) -> Storage:
        for name, value in s3.environment(who, front.port if front else None).items():
            monkeypatch.setenv(name, value)
        return open_storage(f"s3://{bucket}/{request.node.name}")

    return opened


def test_objects_are_kept_listed_and_deleted(use: Use) -> None:
    storage = use()
    for key in ("b", "a/2", "a/1"):
        storage.put(key, key.encode())
    storage.put("b", b"again")

    assert list(storage.list()) == ["a/1", "a/2", "b"]
    assert list(storage.list("a")) == ["a/1", "a/2"]
    assert storage.get("b") == b"again"
    storage.delete("b")
    storage.delete("b")
    assert not storage.exists("b")
    with pytest.raises(FileNotFoundError, match="There is no object 'b' in storage s3://"):
        storage.get("b")


def test_a_large_file_goes_up_in_parts_and_comes_back(use: Use, tmp_path: Path) -> None:
    storage = use()
    content = os.urandom(12 * MIB + 17)
    (tmp_path / "large").write_bytes(content)

    storage.put_file("large", tmp_path / "large")
    storage.get_file("large", tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == content
    assert storage.fingerprint("large").endswith('-3"')  # an etag of three parts
    with storage.reader("large") as file:
        file.seek(10 * MIB)
        assert file.read(100) == content[10 * MIB : 10 * MIB + 100]


def test_files_folders_and_values_go_up_and_down(use: Use, tmp_path: Path) -> None:
    storage = use()
    (tmp_path / "up/inner").mkdir(parents=True)
    (tmp_path / "up/a.txt").write_text("one")
    (tmp_path / "up/inner/b.txt").write_text("two")

    file = File.from_local_sync(tmp_path / "up/a.txt", storage.join("a.txt"))
    folder = Dir.from_local_sync(tmp_path / "up", storage.join("folder"))
    with File(path=storage.join("c.txt")).open_sync("w") as opened:
        opened.write("three")

    assert Path(file.download_sync(tmp_path / "down")).read_text() == "one"
    down = Path(folder.download_sync(tmp_path / "all"))
    assert (down / "inner/b.txt").read_text() == "two"
    with File(path=storage.join("c.txt")).open_sync("r") as opened:
        assert opened.read() == "three"
    write_value(storage, "value", {"numbers": list(range(5))})
    assert read_value(storage, "value", tmp_path / "cache") == {"numbers": list(range(5))}


@pytest.mark.parametrize("verb", ["write", "read", "list", "delete"])
def test_credentials_that_the_server_does_not_know_are_told(use: Use, s3: S3Server, verb: str) -> None:
    use().put("a", b"")

    with pytest.raises(StorageError) as caught:
        act(use(s3.stranger), verb)

    # An answer without a body, to HEAD, tells nobody whether credentials are wrong or may not.
    known = (
        "forbids it (403)"
        if verb == "read"
        else "does not take this process's credentials (403 InvalidAccess"
    )
    assert f"did not let us {verb}" in str(caught.value)
    assert known in str(caught.value)
    assert_secret(s3, caught.value)


def test_a_wrong_secret_is_told(use: Use, s3: S3Server) -> None:
    wrong = {**s3.owner, "AWS_SECRET_ACCESS_KEY": "not-this"}

    with pytest.raises(
        StorageError, match=r"SignatureDoesNotMatch.*Set the right ones.*AWS_SECRET"
    ) as caught:
        use(wrong).put("a", b"")

    assert_secret(s3, caught.value)
    assert "not-this" not in "".join(traceback.format_exception(caught.value))


def test_who_may_only_read_learns_what_is_forbidden(use: Use, s3: S3Server) -> None:
    use().put("a", b"one")
    storage = use(s3.reader)

    assert storage.get("a") == b"one"
    with pytest.raises(
        StorageError, match=r"let us write 'a': .* forbids it \(403 AccessDenied\).*may not write"
    ):
        storage.put("a", b"two")
    with pytest.raises(StorageError, match=r"let us delete 'a': .*AccessDenied"):
        storage.delete("a")
    assert storage.get("a") == b"one"


def test_a_missing_bucket_is_not_taken_for_a_missing_object(use: Use, tmp_path: Path) -> None:
    storage = use(bucket="not-there")

    with pytest.raises(StorageError, match=r"there is no such bucket on .*\(404 NoSuchBucket\)\. Create it"):
        storage.put("a", b"")
    with pytest.raises(StorageError, match="no such bucket"):
        list(storage.list())
    with pytest.raises(FileNotFoundError, match="not there"):  # the file to upload
        use().put_file("a", tmp_path / "not there")


def test_a_server_that_fails_every_third_request_costs_nothing_but_time(
    use: Use, s3: S3Server, tmp_path: Path
) -> None:
    content = os.urandom(11 * MIB)
    (tmp_path / "large").write_bytes(content)
    with Front(s3.port, fails=lambda number: number % 3 == 0) as front:
        storage = use(front=front)
        storage.put_file("large", tmp_path / "large")
        for number in range(5):
            storage.put(f"small/{number}", b"x")
        storage.get_file("large", tmp_path / "back")

        assert list(storage.list("small")) == [f"small/{number}" for number in range(5)]
        for number in range(5):
            storage.delete(f"small/{number}")
        assert list(storage.list()) == ["large"]

    assert (tmp_path / "back").read_bytes() == content
    assert front.failed >= 5


def test_a_server_that_fails_every_request_is_told_after_its_repeats(use: Use, s3: S3Server) -> None:
    with Front(s3.port, fails=lambda number: True) as front:
        with pytest.raises(
            StorageError, match=r"failed, asked 11 times in .* \(503 SlowDown\)\. Try again"
        ) as caught:
            use(front=front).put("a", b"")

        assert front.asked == 11
    assert_secret(s3, caught.value)


def test_a_server_that_goes_away_in_the_middle_leaves_nothing_half(
    use: Use, s3: S3Server, tmp_path: Path
) -> None:
    use().put("large", os.urandom(3 * MIB))
    with Front(s3.port) as front:
        storage = use(front=front)
        front.cut()
        with pytest.raises(StorageError, match=r"let us read 'large': .*Check") as caught:
            storage.get_file("large", tmp_path / "back")

    assert list(tmp_path.iterdir()) == []
    assert_secret(s3, caught.value)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"AWS_ALLOW_HTTP": "false"}, "set AWS_ALLOW_HTTP=true"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "can't be opened: .*Missing SecretAccessKey"),
        ({"AWS_ENDPOINT_URL": "no-url"}, "Check AWS_ENDPOINT_URL and its like"),
    ],
)
def test_what_is_wrong_with_the_environment_is_named(
    use: Use, monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], told: str
) -> None:
    use()
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)

    with pytest.raises((StorageError, ValueError), match=told):
        open_storage(f"s3://{BUCKET}").put("a", b"")


def act(storage: Storage, verb: str) -> None:
    if verb == "write":
        storage.put("a", b"")
    elif verb == "read":
        storage.get("a")
    elif verb == "list":
        list(storage.list())
    else:
        storage.delete("a")


def assert_secret(s3: S3Server, error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error))
    for who in (s3.owner, s3.reader, s3.stranger):
        assert who["AWS_SECRET_ACCESS_KEY"] not in shown
