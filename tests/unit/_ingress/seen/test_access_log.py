from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from flyteray._ingress.seen.access_log import FILE, AccessLog
from flyteray._plan.traffic.access import Page, Place


def entries(*numbers: int, app: str = "hello") -> list[str]:
    return [
        f'{{"app":"{app}","time":"2026-11-30T09:54:10.{number:03d}Z","number":{number}}}'
        for number in numbers
    ]


def numbers(page: Page) -> list[int]:
    return [json.loads(entry)["number"] for entry in page.entries]


def test_the_last_entries_of_an_app_are_found_from_the_end(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    log.write(entries(1, 2) + entries(3, app="other") + entries(4))

    assert numbers(log.last("hello", 2)) == [2, 4]
    assert numbers(log.last("hello", 10)) == [1, 2, 4]
    assert numbers(log.last("hell", 10)) == []


def test_a_place_is_read_on_from(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    log.write(entries(1))
    page = log.last("hello", 1)
    assert log.after("hello", page.place).entries == ()

    log.write(entries(2) + entries(3, app="other"))
    page = log.after("hello", page.place)
    assert numbers(page) == [2]
    assert log.after("hello", page.place).entries == ()


def test_a_full_file_is_followed_by_the_next_and_few_are_kept(tmp_path: Path) -> None:
    log = AccessLog(tmp_path, largest=1)
    first = log.last("hello", 1).place
    for number in range(8):
        log.write(entries(number))

    assert numbers(log.last("hello", 10)) == [4, 5, 6, 7]
    found, page = [], log.after("hello", first)
    for _ in range(10):
        found += numbers(page)
        page = log.after("hello", page.place)
    assert found == [4, 5, 6, 7]
    assert len(list(tmp_path.glob(f"{FILE}*"))) == 5


def test_an_older_file_is_complete_up_to_its_last_entry_only(tmp_path: Path) -> None:
    log = AccessLog(tmp_path, largest=1)
    log.write(entries(1))
    log.write(entries(2))

    assert log.after("hello", Place(1, 0)).until == "2026-11-30T09:54:10.001Z"
    assert log.after("hello", Place(3, 0)).until > "2026-11-30T09:54:11"


def test_the_next_one_carries_on(tmp_path: Path) -> None:
    first = AccessLog(tmp_path, largest=1)
    first.write(entries(1))
    first.close()
    first.write(entries(9))

    second = AccessLog(tmp_path, largest=1)
    second.write(entries(2))
    assert numbers(second.last("hello", 10)) == [1, 2]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    AccessLog(tmp_path, largest=1).write(entries(1))

    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_lines_across_the_pieces_that_are_read_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyteray._ingress.seen.access_log._AT_ONCE", 150)
    log = AccessLog(tmp_path)
    log.write(entries(*range(50)))

    assert numbers(log.last("hello", 100)) == list(range(50))
    found, page = [], log.after("hello", Place(1, 0))
    while page.entries:
        found += numbers(page)
        page = log.after("hello", page.place)
    assert found == list(range(50))
