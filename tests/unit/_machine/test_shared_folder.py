from __future__ import annotations

from pathlib import Path

from flyteray._machine.shared_folder import SharedFolder


def test_the_last_to_leave_removes_the_folder(tmp_path: Path) -> None:
    first = SharedFolder.new(tmp_path)
    (first.path / "content").touch()
    second = SharedFolder(first.path)

    first.leave()
    assert (first.path / "content").exists()
    second.leave()
    assert not first.path.exists()


def test_what_killed_processes_have_left_goes_with_the_next_start(tmp_path: Path) -> None:
    left = tmp_path / "apps-left"
    (left / "code").mkdir(parents=True)
    used = SharedFolder.new(tmp_path)
    (left / "code").mkdir(parents=True)

    fresh = SharedFolder.new(tmp_path)

    assert not left.exists()
    assert used.path.exists()
    fresh.leave()
    used.leave()
