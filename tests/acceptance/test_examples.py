"""The examples, each to its end on one cluster, and what each of them is there to show."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.bundle.code import load_file
from flyteray.remote import App

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOWN = {
    "ab_graph": ["Model a, LogisticRegression: 0.9", "Model b, KNeighborsClassifier: 0.9"],
    "live_model": ["Newer:   {'rows': 1000", "right in 20% of cases", "Still:   {'rows': 1000"],
    "other_language": ["The words of this file: {'import': 6"],
    "server_sent_events": ['data: {"step": 10, "accuracy": 0.'],
    "webhook_starts_task": ["Started: r", "Score:   0.4"],
    "websocket_chat": ["ada: Anybody here?", "grace: I am."],
}
IN_A_BROWSER = {"gradio_demo", "streamlit_page"}  # tests/acceptance/test_browser.py
IN_THE_README = {"train_and_serve"}  # tests/acceptance/test_readme.py


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    for app in App.listall():
        App.delete(app.name)


@pytest.mark.usefixtures("cluster", "nothing_left")
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_is_there_to_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "other_language" and shutil.which("perl") is None:
        pytest.skip("it serves a Perl program, and there is no perl here")

    load_file(EXAMPLES / f"{name}.py").main()

    printed = capsys.readouterr().out
    assert [line for line in SHOWN[name] if line not in printed] == []


def test_every_example_is_tested() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.py")}

    assert there == {*SHOWN, *IN_A_BROWSER, *IN_THE_README}


@pytest.mark.parametrize("name", sorted({*SHOWN, *IN_A_BROWSER, *IN_THE_README}))
def test_an_example_opens_with_its_lesson_and_its_command(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()

    assert text.startswith('"""')
    assert f"python examples/{name}.py" in text
