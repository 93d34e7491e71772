from __future__ import annotations

import base64
import hashlib
import re

import pytest

from flyteray._ingress.haproxy.login.pages import guards, pages


@pytest.mark.parametrize("name", pages())
def test_a_page_needs_nothing_and_runs_nothing(name: str) -> None:
    page = pages()[name]

    assert not re.search(r"<script|javascript:|\son\w+=|https?:|//|url\(|@import", page)
    assert re.findall(r'(?:href|src|action)="([^"]*)"', page) in (["data:,"], ["data:,", "/-/logout"])


@pytest.mark.parametrize("name", pages())
def test_a_page_is_a_format_of_haproxys(name: str) -> None:
    page = pages()[name].replace("%%", "")

    assert set(re.findall(r"%\[?[^]]*\]?", page)) <= {
        "%[var(txn.shown)]",
        "%[var(txn.problem)]",
        "%[var(txn.user)]",
    }
    assert "$" not in page


def test_the_style_of_the_pages_is_the_one_that_browsers_are_told_of() -> None:
    [policy] = re.findall(r"style-src 'sha256-(\S+)'", guards())

    for page in pages().values():
        [style] = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
        digest = hashlib.sha256(style.replace("%%", "%").encode()).digest()
        assert base64.b64encode(digest).decode() == policy
