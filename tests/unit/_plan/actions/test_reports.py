from __future__ import annotations

import threading
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from flyteray._plan.actions import reports
from flyteray._plan.actions.reports import KeptReport
from flyteray._plan.info import ActionPhase
from flyteray.errors import ReportNotFoundError
from flyteray.storage import Storage, open_storage
from flyteray.storage.objects import ObjectStorage


@pytest.fixture(params=["folder", "object store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return (
        open_storage(tmp_path) if request.param == "folder" else ObjectStorage("s3://bucket/a", MemoryStore())
    )


def kept(folder: Storage, attempt: int = 1, action: str = "a0") -> KeptReport:
    return KeptReport("env.work", "r", action, attempt, lambda: folder)


def test_the_last_attempt_that_has_a_report_is_read_unless_another_is_asked_for(folder: Storage) -> None:
    for attempt in (9, 10):
        report = kept(folder, attempt)
        report.get_tab("main").log(f"<p>try {attempt}</p>")
        report.end(ActionPhase.FAILED, "ValueError: no")

    assert "<p>try 10</p>" in reports.read(folder, "r", "a0")
    assert "<p>try 9</p>" in reports.read(folder, "r", "a0", 9)
    with pytest.raises(ReportNotFoundError, match=r"Attempt 3 of action 'a0' of run 'r' .* those of 9, 10\."):
        reports.read(folder, "r", "a0", 3)
    with pytest.raises(ReportNotFoundError, match=r"Action 'a1' of run 'r' has no report\. .* one: a0\."):
        reports.read(folder, "r", "a1")


def test_reports_of_an_earlier_call_of_the_action_are_gone(folder: Storage) -> None:
    for attempt in (1, 2, 3):
        kept(folder, attempt).flush()
    kept(folder, 1, "a0.1").flush()

    kept(folder, 2).flush()

    assert list(folder.list()) == ["a0.1/report/1.html", "a0/report/1.html", "a0/report/2.html"]


def test_a_report_says_how_its_attempt_stands(folder: Storage) -> None:
    report = kept(folder)
    report.flush()
    running = reports.read(folder, "r", "a0")
    report.end(ActionPhase.FAILED, "ValueError: no")
    failed = reports.read(folder, "r", "a0")

    assert [word in running for word in (">running<", " as of ", "ValueError")] == [True, True, False]
    assert [word in failed for word in (">failed<", " as of ", "ValueError: no")] == [True, True, True]


class Counting(ObjectStorage):
    """A storage that counts what is written, and lets it wait."""

    def __init__(self) -> None:
        super().__init__("s3://bucket/a", MemoryStore())
        self.written = 0
        self.let = threading.Semaphore(0)
        self.began = threading.Event()

    def put(self, key: str, data: bytes | memoryview) -> None:
        self.began.set()
        assert self.let.acquire(timeout=60)
        super().put(key, data)
        self.written += 1


def test_what_has_not_changed_is_not_written_again() -> None:
    storage = Counting()
    storage.let.release(10)
    report = kept(storage)

    report.flush()
    report.flush()
    assert storage.written == 1
    report.get_tab("main").log("<p>new</p>")
    report.flush()
    assert storage.written == 2


def test_those_who_flush_at_one_time_are_served_by_few_writes_and_each_finds_its_own_there() -> None:
    storage = Counting()
    report = kept(storage)
    missing: list[int] = []

    def work(number: int) -> None:
        report.get_tab("main").log(f"<p>step {number};</p>")
        report.flush()
        if f"step {number};" not in reports.read(storage, "r", "a0"):
            missing.append(number)

    first = threading.Thread(target=work, args=(0,))
    first.start()
    assert storage.began.wait(60)
    others = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in others:
        thread.start()
    storage.let.release(20)
    for thread in (first, *others):
        thread.join()

    assert missing == []
    assert 2 <= storage.written <= 9


def test_a_surrogate_in_a_page_is_no_reason_not_to_write_it(folder: Storage) -> None:
    report = kept(folder)
    report.get_tab("main").log("<p>\udc80</p>")
    report.flush()

    assert "<p>\\udc80</p>" in reports.read(folder, "r", "a0")
