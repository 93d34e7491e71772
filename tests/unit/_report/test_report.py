from __future__ import annotations

import threading

import pytest

from flyteray._report import report as reports
from flyteray.report import Report, Tab


def test_the_main_tab_is_always_there_and_others_are_made_when_they_are_asked_for() -> None:
    report = Report("work")

    assert report.get_tab("main", create_if_missing=False).name == "main"
    with pytest.raises(ValueError, match=r"There is no tab 'scores': there are 'main'\."):
        report.get_tab("scores", create_if_missing=False)
    assert report.get_tab("scores") is report.get_tab("scores", create_if_missing=False)
    assert list(report.tabs) == ["main", "scores"]
    with pytest.raises(ValueError, match="must be a str that is not empty, got ''"):
        report.get_tab("")


def test_what_is_logged_follows_what_is_there_and_is_replaced() -> None:
    report = Report("work")
    assert not report.has_content()

    tab = report.get_tab("list")
    for part in ("<ul>", "<li>one</li>", "</ul>"):
        tab.log(part)
    assert tab.get_html() == "<ul>\n<li>one</li>\n</ul>"
    assert "<ul>\n<li>one</li>\n</ul>" in report.get_final_report()

    tab.replace("<p>two</p>")
    assert tab.get_html() == "<p>two</p>"
    assert report.has_content()


def test_a_tab_of_no_report_holds_its_own() -> None:
    tab = Tab("alone")
    tab.log("<b>here</b>")

    assert tab.get_html() == "<b>here</b>"


def test_what_has_no_room_is_left_out_and_counted_until_room_is_made() -> None:
    report = Report("work", room=10)
    first, second = report.get_tab("first"), report.get_tab("second")

    first.log("12345678")
    second.log("123")
    second.log("12")
    assert (first.get_html(), second.get_html()) == ("12345678", "12")
    assert "[3 characters more had no room in this report]" in report.get_final_report()

    first.replace("")
    second.replace("1234567890")
    assert second.get_html() == "1234567890"
    assert "had no room" not in report.get_final_report()


def test_a_report_that_nobody_sees_forgets_what_it_is_told_and_refuses_what_any_refuses() -> None:
    report = reports.unseen()
    report.get_tab("main").log("<p>nothing</p>")

    assert not report.has_content()
    with pytest.raises(TypeError, match="A report can't show an int"):
        report.get_tab("main").log(3)


def test_threads_write_to_one_report_at_one_time() -> None:
    report = Report("work")
    together = threading.Barrier(8, timeout=60)

    def write(number: int) -> None:
        together.wait()
        for step in range(200):
            report.get_tab(f"tab {step % 3}").log(f"<i>{number}.{step}</i>")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    html = "\n".join(tab.get_html() for tab in report.tabs.values())
    assert sorted(html.split()) == sorted(
        f"<i>{number}.{step}</i>" for number in range(8) for step in range(200)
    )
