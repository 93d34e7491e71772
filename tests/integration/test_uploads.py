"""Files and folders that are put into the storage of a cluster by hand."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from flyteray.artifacts import Card
from flyteray.io import Dir, File
from flyteray.remote import upload_dir, upload_file

pytestmark = pytest.mark.usefixtures("cluster")


def test_equal_files_are_there_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("the same")
    second.write_text("the same")

    md5, uri = upload_file(first)
    written = Path(uri).stat()

    assert md5 == hashlib.md5(b"the same", usedforsecurity=False).hexdigest()
    assert asyncio.run(upload_file.aio(second, fname="a.txt")) == (md5, uri)
    assert (Path(uri).stat().st_ino, Path(uri).stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    with File[Any].from_existing_remote(uri).open_sync("rt") as file:
        assert file.read() == "the same"
    second.write_text("other")
    assert upload_file(second, fname="a.txt")[1] != uri


def test_a_folder_is_there_with_all_that_is_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "x.txt").write_text("x")

    uri = upload_dir(folder)

    assert upload_dir(folder) == uri
    assert [Path(each.path).read_text() for each in Dir[Any].from_existing_remote(uri).walk_sync()] == ["x"]
    assert "/uploads/of/mine/" in upload_dir(folder, prefix="of/mine")
    (folder / "below" / "x.txt").write_text("y")
    assert upload_dir(folder) != uri
    empty = tmp_path / "empty"
    empty.mkdir()
    assert Path(upload_dir(empty)).is_dir()


def test_a_card_is_among_the_uploads(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>good</p>")

    card = Card.create_from(local_path=tmp_path / "page.html", card_type="model")

    assert "/uploads/" in card.uri
    assert (Path(card.uri).read_text(), card.card_type) == ("<p>good</p>", "model")


def test_what_can_not_be_uploaded_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")

    with pytest.raises(ValueError, match="File not found"):
        upload_file(tmp_path)
    with pytest.raises(ValueError, match=r"without its folders, got '\.\./a'"):
        upload_file(tmp_path / "a", fname="../a")
    with pytest.raises(ValueError, match="Directory not found"):
        upload_dir(tmp_path / "a")
    with pytest.raises(ValueError, match="a folder among the uploads"):
        upload_dir(tmp_path, prefix="../runs")
    with pytest.warns(UserWarning, match="upload_file: verify has no meaning"):
        upload_file(tmp_path / "a", verify=False)
