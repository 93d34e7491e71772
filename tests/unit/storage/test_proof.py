from __future__ import annotations

from pathlib import Path

import pytest

from flyteray.storage import open_storage, proof
from tests.s3_server import BUCKET, S3Server, s3_server


def test_who_has_the_same_folder_has_no_problem_and_nothing_stays(tmp_path: Path) -> None:
    storage = open_storage(tmp_path)
    token = proof.offer(storage)

    assert proof.problem_here(str(tmp_path), token) is None
    proof.withdraw(storage, token)
    assert list(tmp_path.iterdir()) == []


def test_who_has_another_folder_or_none_is_found_and_keeps_it_as_it_is(tmp_path: Path) -> None:
    token = proof.offer(open_storage(tmp_path / "here"))
    (tmp_path / "there").mkdir()

    assert proof.problem_here(str(tmp_path / "there"), token) == "a folder of its own"
    assert proof.problem_here(str(tmp_path / "nowhere"), token) == "no such folder"
    assert list((tmp_path / "there").iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_of_a_bucket_each_needs_rights_of_its_own(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def be(who: dict[str, str] | None = None, of: S3Server = s3) -> None:
        for name, value in of.environment(who).items():
            monkeypatch.setenv(name, value)

    url = f"s3://{BUCKET}/proof-of-all"
    be()
    storage = open_storage(url)
    token = proof.offer(storage)
    assert proof.problem_here(url, token) is None
    be(dict(s3.reader))
    assert "Storage s3://bucket/proof-of-all did not let us write" in str(proof.problem_here(url, token))
    be(dict(s3.stranger))
    assert "did not let us read" in str(proof.problem_here(url, token))
    with s3_server() as another:
        be(of=another)
        assert proof.problem_here(url, token) == "another server or bucket"
    proof.withdraw(storage, token)
    assert list(storage.list()) == []
