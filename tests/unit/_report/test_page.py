from __future__ import annotations

import re

from flyteray._report.page import Heading, Shown, page
from flyteray._report.piece import Piece

HELLO = (Piece("<p>hello</p>"),)


def names(html: str) -> list[str]:
    return re.findall(r'role="tab"[^>]*>([^<]*)<', html)


def test_tabs_stand_in_their_order_with_their_content() -> None:
    html = page("work", Heading(), [Shown("main", HELLO), Shown("other", (Piece("$x"), Piece("${y}")))])

    assert names(html) == ["main", "other"]
    assert re.findall(r'role="tabpanel"[^>]*>\n(.*?)\n</section>', html, re.DOTALL) == [
        "<p>hello</p>",
        "$x\n${y}",
    ]


def test_an_empty_main_tab_is_left_out_where_others_have_content() -> None:
    assert names(page("work", Heading(), [Shown("main", ()), Shown("other", HELLO)])) == ["other"]
    assert names(page("work", Heading(), [Shown("main", HELLO), Shown("other", ())])) == ["main", "other"]


def test_a_report_in_which_nothing_was_logged_says_so() -> None:
    html = page("work", Heading(), [Shown("main", ()), Shown("other", ())])

    assert names(html) == ["main"]
    assert "Nothing has been logged." in html


def test_titles_names_facts_and_problems_are_text() -> None:
    heading = Heading(("run <r>",), "failed", "as of <now>", "ValueError: <x>")
    html = page("<work>", heading, [Shown("<main>", HELLO), Shown("b", HELLO)])

    assert "<title>&lt;work&gt;</title>" in html
    assert names(html) == ["&lt;main&gt;", "b"]
    for told in ("run &lt;r&gt;", "as of &lt;now&gt;", "ValueError: &lt;x&gt;"):
        assert f">{told}</" in html


def test_a_tab_with_colours_of_its_own_is_on_paper_and_others_are_not() -> None:
    coloured = (Piece("<table>"), Piece('<tr style="color: #333">'), Piece("</table>"))
    html = page("work", Heading(), [Shown("main", HELLO), Shown("other", coloured)])

    assert re.findall(r'class="(flyteray-panel[^"]*)"', html) == [
        "flyteray-panel",
        "flyteray-panel flyteray-paper",
    ]
