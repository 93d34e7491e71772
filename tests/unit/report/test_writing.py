"""Reports of tasks in local mode: what is kept of them, when, and for whom."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
import re
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import flyteray as flyte
from flyteray import report
from flyteray.errors import ReportNotFoundError, RuntimeUserError

env = flyte.TaskEnvironment(name="reporting")
local = flyte.with_runcontext(mode="local")
seen: list[str] = []


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    seen.clear()
    return tmp_path


def page_now() -> str:
    """What is kept of the report of the task that runs."""
    action = flyte.ctx().action
    assert action is not None
    (path,) = Path(str(flyte.ctx().raw_data_path)).parent.glob("report/*.html")
    return path.read_text()


def test_a_task_with_a_report_is_declared_without_a_warning_and_keeps_it_when_it_is_overridden() -> None:
    @env.task(report=True)
    def quiet() -> None: ...

    assert quiet.report
    assert quiet.override(retries=2).report
    with pytest.raises(TypeError, match="unexpected keyword argument 'report'"):
        quiet.override(report=False)


@env.task(report=True)
def blocking() -> None:
    report.log("<p>one</p>", do_flush=True)
    seen.append(page_now())
    flyte.report.replace("<p>two</p>")
    report.get_tab("more").log("<p>three</p>")
    assert page_now() == seen[0]
    report.flush()
    seen.append(page_now())
    report.log("<p>four</p>")


@env.task(report=True)
async def awaited() -> None:
    await report.log.aio("<p>one</p>", do_flush=True)
    seen.append(page_now())
    await report.replace.aio("<p>two</p>")
    report.get_tab("more").log("<p>three</p>")
    assert page_now() == seen[0]
    await report.flush.aio()
    seen.append(page_now())
    report.log("<p>four</p>")


@env.task(report=True)
async def blocking_in_async() -> None:
    await asyncio.sleep(0)
    blocking.forward()


@pytest.mark.parametrize("task", [blocking, awaited, blocking_in_async], ids=lambda task: task.short_name)
def test_a_report_is_kept_when_it_is_flushed_and_when_the_task_ends(task: Any) -> None:
    run = local.run(task)

    words = ("<p>one</p>", "<p>two</p>", "<p>three</p>")
    assert [[word in each for word in words] for each in seen] == [[True, False, False], [False, True, True]]
    assert "running</span>" in seen[1]
    page = run.get_report()
    assert "<p>two</p>\n<p>four</p>" in page
    assert "succeeded</span>" in page
    assert f"run {run.name}</span><span>action a0</span><span>attempt 1" in page
    assert run.report_file().read_text() == page


def test_outside_tasks_and_without_report_true_calls_do_nothing(home: Path) -> None:
    @env.task
    async def unreported() -> None:
        await report.log.aio("<p>one</p>", do_flush=True)
        report.replace("<p>two</p>", do_flush=True)
        report.get_tab("more").log("three")
        assert report.get_tab("more", create_if_missing=False).get_html() == ""
        assert flyte.ctx().report in (None, report.current_report())
        await report.flush.aio()

    run = local.run(unreported)
    asyncio.run(unreported())

    assert [path for path in home.rglob("*") if path.is_file()] == []
    with pytest.raises(
        ReportNotFoundError, match=r"has no report. A task makes one where .*env\.task\(report=True"
    ):
        run.get_report()


def test_what_a_report_does_not_take_is_an_error_of_the_task_wherever_it_runs() -> None:
    with pytest.raises(TypeError, match="A report can't show a dict"):
        report.log({})


@env.task(report=True, retries=1)
def fails() -> None:
    report.log(f"<p>try {flyte.ctx().attempt_number}</p>")
    raise ValueError("the rate is <negative>")


@pytest.mark.parametrize("task", [fails, env.task(report=True, retries=1)(fails.func)], ids=["sync", "again"])
def test_each_attempt_that_fails_has_a_report_that_says_why_and_where(
    home: Path, caplog: pytest.LogCaptureFixture, task: Any
) -> None:
    with pytest.raises(RuntimeUserError, match="negative"):
        flyte.with_runcontext(mode="local", name="broken").run(task)

    folder = home / "local" / "broken" / "a0" / "report"
    pages = [(folder / f"{attempt}.html").read_text() for attempt in (1, 2)]
    assert [f"<p>try {number}</p>" in page for number, page in enumerate(pages)] == [True, True]
    assert all("ValueError: the rate is &lt;negative&gt;" in page for page in pages)
    assert all("failed</span>" in page for page in pages)
    assert [record.args for record in caplog.records if "report" in record.message] == [
        ("reporting.fails", folder / "1.html"),
        ("reporting.fails", folder / "2.html"),
    ]


@env.task(report=True)
async def child(number: int) -> None:
    await report.log.aio(f"<p>child {number}</p>")


@env.task
def without() -> None:
    report.log("<p>unseen</p>")


@env.task(report=True)
async def parent() -> None:
    async def step(number: int) -> None:
        await asyncio.sleep(0)
        report.log(f"<p>step {number}</p>")
        await asyncio.to_thread(report.get_tab("threads").log, f"<p>thread {number}</p>")
        await asyncio.to_thread(report.log, f"<p>aside {number}</p>")

    await asyncio.gather(*(step(number) for number in range(5)), child(1), child(2), without.aio())
    lost = threading.Thread(target=report.log, args=("<p>of no task</p>",))
    found = threading.Thread(target=contextvars.copy_context().run, args=(report.log, "<p>of this</p>"))
    for thread in (lost, found):
        thread.start()
        thread.join()


def test_coroutines_and_threads_of_a_task_share_its_report_and_children_have_their_own() -> None:
    run = local.run(parent)
    page = run.get_report()

    for number in range(5):
        assert all(f"<p>{word} {number}</p>" in page for word in ("step", "thread", "aside"))
    assert "<p>of this</p>" in page
    assert not any(word in page for word in ("<p>child", "unseen", "of no task"))
    with pytest.raises(
        ReportNotFoundError, match=r"'other' of run .* Those with one: \w+, \w+, \w+\.$"
    ) as found:
        run.get_report(action="other")
    others = {*re.findall(r"\w+", str(found.value).rpartition(": ")[2])} - {"a0"}
    assert len(others) == 2
    children = [run.get_report(action=action) for action in sorted(others)]
    assert sorted("child 2" in each for each in children) == [False, True]
    with pytest.raises(ReportNotFoundError, match=r"Attempt 2 of action 'a0' .* there are those of 1\."):
        run.get_report(attempt=2)


@env.task(report=True)
def refused() -> int:
    folder = Path(str(flyte.ctx().raw_data_path)).parents[1]
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file, no folder")
    report.log("<p>lost</p>")
    return 1


def test_a_task_succeeds_whose_report_can_not_be_written_in_the_end(caplog: pytest.LogCaptureFixture) -> None:
    assert local.run(refused).outputs()[0] == 1
    assert "action a0, attempt 1 could not be written" in caplog.text


@pytest.mark.parametrize("kind", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
@pytest.mark.parametrize("name", ["flush", "log", "replace"])
def test_functions_are_pickled_by_their_names(kind: Any, name: str) -> None:
    assert kind.loads(kind.dumps(getattr(report, name))) is getattr(report, name)
