from __future__ import annotations

import pytest

from flyteray._declare.options.documentation import Documentation

GOOGLE = """Train.

Long words.

Args:
    rounds: How often it sees
        the data.
    rate (float): How much.

Returns:
    The loss.
"""
REST = """Train.

Long words.

:param rounds: How often it sees the data.
:param float rate: How much.
:returns: The loss.
"""
NUMPY = """Train.

Long words.

Parameters
----------
rounds
    How often it sees the data.
rate : float
    How much.

Returns
-------
float
    The loss.
"""


@pytest.mark.parametrize("text", [GOOGLE, REST, NUMPY], ids=["google", "rest", "numpy"])
def test_docs_are_a_summary_and_what_they_tell_of_inputs(text: str) -> None:
    docs = Documentation(text)

    assert docs.summary == "Train.\n\nLong words."
    assert docs.of_inputs == {"rounds": "How often it sees the data.", "rate": "How much."}
    assert docs.description == text


@pytest.mark.parametrize(
    "text", ["", "Only this.", "Args: none", "Args:\n  :", ":param", ": :", "Ends in\n---\n"]
)
def test_docs_in_no_style_tell_of_no_inputs(text: str) -> None:
    assert Documentation(text).of_inputs == {}
    assert isinstance(Documentation(text).summary, str)
