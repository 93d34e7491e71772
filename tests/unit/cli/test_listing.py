"""A file says what can be done with it, and a task what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyteray.cli.root import flyteray

FILE = '''"""Training, in tasks."""
import flyteray as flyte
from flyteray.app import AppEnvironment

env = flyte.TaskEnvironment("listed")
app = AppEnvironment("page", args="sleep 1", description="The page of it.")


@env.task
async def train(rounds: int, rate: float = 0.5) -> float:
    """Train a model. It takes a while.

    Args:
        rounds: How often it sees
            the data.
        rate (float): How much it learns each time.
    """
    return rounds * rate


@env.task
def silent() -> None:
    pass
'''


@pytest.fixture
def folder(tmp_path: Path, own_path: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "listed.py").write_text(FILE)
    (tmp_path / "bare.py").write_text("X = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    return tmp_path


def command(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(flyteray, arguments)


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_tasks_of_a_file_are_listed_with_their_docs(folder: Path) -> None:
    asked, left_out = command("run", "listed.py", "--help"), command("run", "--local", "listed.py")

    assert asked.exit_code == 0
    assert "Training, in tasks." in asked.stdout
    assert "silent train Train a model." in words(asked.stdout)
    assert (left_out.exit_code, left_out.stdout) == (2, "")
    assert "silent train Train a model." in words(left_out.stderr)


def test_apps_of_a_file_are_listed(folder: Path) -> None:
    done = command("serve", "listed.py")

    assert done.exit_code == 2
    assert "app The page of it." in words(done.stderr)


def test_help_of_a_task_tells_what_its_docs_tell_of_each_input(folder: Path) -> None:
    shown = words(command("run", "listed.py", "train", "--help").stdout)

    assert "Train a model. It takes a while." in shown
    assert "--rounds INTEGER int: How often it sees the data. [required]" in shown
    assert "--rate FLOAT float (default: 0.5): How much it learns each time." in shown
    assert "Args:" not in shown


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["run", "bare.py"], 1, "There is no task in 'bare.py'"),
        (["serve", "bare.py"], 1, "There is no AppEnvironment in 'bare.py'"),
        (
            ["run", "listed.py", "--local", "silent"],
            2,
            "Put --local before the file, or if it is an input, behind the",
        ),
        (["run", "deployed-task", "--help"], 1, "No local cluster runs"),
    ],
)
def test_where_nothing_can_be_listed_it_is_said_why(
    folder: Path, arguments: list[str], code: int, problem: str
) -> None:
    done = command(*arguments)

    assert done.exit_code == code
    assert problem in words(done.stderr)
