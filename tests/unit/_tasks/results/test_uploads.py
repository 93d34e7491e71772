from __future__ import annotations

from pathlib import Path

from flyteray._plan.actions.names import ActionNames
from flyteray._tasks.results.uploads import Uploads
from flyteray.io import Dir, File


def written(folder: Path, name: str, text: str) -> File[str]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return File(path=str(folder / name))


def test_an_upload_is_named_by_its_content_and_name(tmp_path: Path) -> None:
    uploads = Uploads(str(tmp_path / "data"))
    first, again = (written(tmp_path / "data" / folder, "a.txt", "same") for folder in "xy")
    named = written(tmp_path / "data/z", "b.txt", "same")
    other = written(tmp_path / "data/z", "a.txt", "other")

    assert uploads.named(first) == uploads.named(again)
    assert len({uploads.named(each) for each in (first, named, other)}) == 3
    folders = [Dir[str](path=str(tmp_path / "data" / folder), name="folder") for folder in "xyz"]
    assert uploads.named(folders[0]) == uploads.named(folders[1]) != uploads.named(folders[2])


def test_what_is_written_anew_is_named_anew(tmp_path: Path) -> None:
    uploads = Uploads(str(tmp_path))
    file = written(tmp_path / "x", "a.txt", "first")
    before = uploads.named(file)
    written(tmp_path / "x", "a.txt", "second")

    assert before != uploads.named(file)


def test_what_is_no_upload_or_not_there_is_named_by_hash_or_path(tmp_path: Path) -> None:
    uploads = Uploads(str(tmp_path / "data"))

    assert uploads.named(File(path=str(tmp_path / "data/x"), hash="known")) == "known"
    assert uploads.named(File(path="/data/other")) == "/data/other"
    missing = str(tmp_path / "data/x/a.txt")
    assert uploads.named(File(path=missing)) == missing
    assert uploads.named(Dir(path=f"{tmp_path}/data-of-others")) == f"{tmp_path}/data-of-others"


def test_calls_below_an_action_are_named_in_the_same_way(tmp_path: Path) -> None:
    names, again = (ActionNames("a0", Uploads(str(tmp_path)).named).below("trace") for _ in range(2))
    first, second = (written(tmp_path / folder, "a.txt", "same") for folder in "xy")

    assert names.next("f", {"x": first}) == again.next("f", {"x": second})
