"""The examples on one cluster, with the commands that they open with, and what each of them is there to show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.bundle.code import load_file
from flyteray.remote import App

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FURTHER = re.compile(r"^    ((?:flyteray|python -m) .*)$", re.MULTILINE)  # what the lesson types besides
SHOWN = {
    "ab_graph": ["Model a, LogisticRegression: 0.9", "Model b, KNeighborsClassifier: 0.9"],
    "deployed_task": ["Signature: a759758203bf", "signing.sign", "'a759758203bf"],
    "live_model": [
        "Newer:   {'rows': 1000",
        "right in 20% of cases",
        "Still:   {'rows': 1000",
        "model of run r",
    ],
    "local_mode": ["Postage: 3000", 'Served:  """Try tasks and apps', "grams=1000", "o0     100", "/files"],
    "named_run": ["Best:    15 neighbors", "nightly", '"task": "wine.best"'],
    "other_language": ["The words of this file: {'import': 6"],
    "report": ["Accuracy: 0.9", "KiB of HTML", "<h2>Epoch 5 of 5: 9"],
    "server_sent_events": ['data: {"step": 10, "accuracy": 0.'],
    "webhook_starts_task": ["Started: r", "Score:   0.4"],
    "websocket_chat": ["ada: Anybody here?", "grace: I am."],
}
BY_PYTEST = {"test_live_model"}
IN_A_BROWSER = {"gradio_demo", "streamlit_page"}  # tests/acceptance/test_browser.py
IN_THE_README = {"train_and_serve"}  # tests/acceptance/test_readme.py
ALL = {*SHOWN, *BY_PYTEST, *IN_A_BROWSER, *IN_THE_README}


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    for app in App.listall():
        App.delete(app.name)


def lesson(name: str) -> str:
    """What an example opens with."""
    return (EXAMPLES / f"{name}.py").read_text().split('"""')[1]


def in_a_terminal(command: str) -> str:
    """What a command prints that ends well, with this environment's programs first on its path."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=ROOT,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.usefixtures("cluster", "nothing_left")
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_what_it_is_there_to_show(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "other_language" and shutil.which("perl") is None:
        pytest.skip("it serves a Perl program, and there is no perl here")

    load_file(EXAMPLES / f"{name}.py").main()
    further = [in_a_terminal(command) for command in FURTHER.findall(lesson(name))]

    printed = capsys.readouterr().out + "".join(further)
    assert [line for line in SHOWN[name] if line not in printed] == []


@pytest.mark.parametrize("name", BY_PYTEST)
def test_the_tests_in_an_example_pass(name: str) -> None:
    (command,) = FURTHER.findall(lesson(name))

    assert "5 passed" in in_a_terminal(command)


def test_every_example_is_tested() -> None:
    there = {path.stem for path in EXAMPLES.glob("*.py")}

    assert there == ALL


def test_the_readme_lists_every_example_with_the_first_line_of_its_lesson() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\(examples/(\w+)\.py\) \| (.*) \|$", (ROOT / "README.md").read_text(), re.M
    )

    assert sorted(rows) == [(name, name, lesson(name).partition("\n")[0]) for name in sorted(ALL)]


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_example_opens_with_its_lesson_and_its_command(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text()

    assert text.startswith('"""')
    assert f"python {'-m pytest ' if name in BY_PYTEST else ''}examples/{name}.py" in text
