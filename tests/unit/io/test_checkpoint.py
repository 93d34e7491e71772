from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray import Checkpoint

env = flyte.TaskEnvironment(name="checkpoints")
local = flyte.with_runcontext(mode="local")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(str(tmp_path / "kept" / "checkpoint"))


def test_bytes_and_files_come_back_as_one_file(checkpoint: Checkpoint, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"two")

    file = tmp_path / "model.bin"
    for data, expected in [(b"one", b"one"), (file, b"two"), (str(file), b"two"), (b"", b"")]:
        checkpoint.save_sync(data)
        loaded = checkpoint.load_sync()
        assert loaded == checkpoint.path / "payload"
        assert loaded.read_bytes() == expected


def test_a_folder_comes_back_with_all_that_is_in_it_and_with_nothing_of_before(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a").write_text("A")
    (folder / "payload").write_text("P")
    checkpoint.save_sync(b"before")
    checkpoint.load_sync()
    checkpoint.save_sync(folder)

    loaded = checkpoint.load_sync()

    assert loaded == checkpoint.path
    assert sorted(path.relative_to(loaded).as_posix() for path in loaded.rglob("*")) == [
        "below",
        "below/a",
        "payload",
    ]
    assert (loaded / "below" / "a").read_text() == "A"
    checkpoint.save_sync(b"after")
    checkpoint.load_sync()
    assert [path.name for path in checkpoint.path.iterdir()] == ["payload"]


def test_where_nothing_was_saved_there_is_none(checkpoint: Checkpoint) -> None:
    assert checkpoint.load_sync() is None
    assert asyncio.run(checkpoint.load()) is None
    assert not checkpoint.prev_exists()


@pytest.mark.parametrize(
    ("wrong", "error"), [("nowhere", FileNotFoundError), (3, TypeError), (None, TypeError)]
)
def test_what_can_not_be_saved_is_told_and_what_was_saved_stays(
    checkpoint: Checkpoint, wrong: Any, error: type[Exception]
) -> None:
    checkpoint.save_sync(b"good")
    with pytest.raises(error, match=str(wrong)):
        checkpoint.save_sync(wrong)
    loaded = checkpoint.load_sync()
    assert loaded is not None
    assert loaded.read_bytes() == b"good"


@env.task(retries=3)
async def counts() -> list[str]:
    checkpoint = flyte.ctx().checkpoint
    assert checkpoint is not None
    before = await checkpoint.load()
    steps = before.read_text() if before else ""
    await checkpoint.save(f"{steps}{len(steps)}".encode())
    if flyte.ctx().attempt_number < 3:
        raise ValueError("again")
    return [steps, str(checkpoint.prev_exists())]


def test_an_attempt_goes_on_from_what_the_one_before_it_has_saved() -> None:
    assert local.run(counts).outputs()[0] == ["012", "True"]


def test_outside_tasks_there_is_no_checkpoint() -> None:
    assert flyte.ctx().checkpoint is None


def test_the_latest_file_is_the_newest_or_what_a_key_says(tmp_path: Path) -> None:
    for number, name in enumerate(("b", "a", "c")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.ckpt").touch()
        os.utime(tmp_path / name / "last.ckpt", (number, number))
    (tmp_path / "z.pt").touch()

    assert flyte.latest_checkpoint(tmp_path) == tmp_path / "c" / "last.ckpt"
    assert (
        flyte.latest_checkpoint(tmp_path, key=lambda path: path.parent.name == "b")
        == tmp_path / "b" / "last.ckpt"
    )
    assert flyte.latest_checkpoint(str(tmp_path), "*.pt") == tmp_path / "z.pt"
    assert flyte.latest_checkpoint(tmp_path, "*.none") is None
    assert flyte.latest_checkpoint(tmp_path / "z.pt") == tmp_path / "z.pt"
    assert flyte.latest_checkpoint(None) is None
