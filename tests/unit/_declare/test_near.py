from __future__ import annotations

import pytest

from flyteray._declare.near import did_you_mean, near


@pytest.mark.parametrize(
    ("asked", "there", "meant"),
    [
        ("weights.mkae", ["weights.make", "search.best"], ["weights.make"]),
        ("make", ["weights.make", "search.best"], ["weights.make"]),  # its environment is missing
        ("demo.train", ["search.train", "demo.evaluate"], ["search.train"]),  # the other environment
        ("Nightly_Run", ["nightly-run"], ["nightly-run"]),
        ("helo", ["hello", "files"], ["hello"]),
        ("r5f0c9e0a1b2d", ["r5f0c9e0a1b2c", "nightly"], ["r5f0c9e0a1b2c"]),
        ("search.trian", ["search.train", "search.test", "search.evaluate"], ["search.train"]),
        ("search.plot", ["search.train", "search.evaluate"], []),  # the environment alone is no reason
        ("a", ["b"], []),
        ("a", [], []),
    ],
)
def test_the_name_that_was_meant_is_found(asked: str, there: list[str], meant: list[str]) -> None:
    assert near(asked, there) == meant


def test_the_likeliest_come_first_and_are_at_most_three() -> None:
    assert near("train", ["tran", "trains", "strain", "brains"]) == ["strain", "trains", "tran"]


def test_it_is_asked_only_where_something_is_near() -> None:
    assert did_you_mean("helo", ["hello", "help"]) == " Did you mean 'hello' or 'help'?"
    assert did_you_mean("helo", ["xyz"]) == ""
