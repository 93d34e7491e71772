"""What people type after years of Flyte's own command is understood."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyteray import _logging
from flyteray.cli.nouns.run import get_io
from flyteray.cli.root import flyteray

FILE = """
import os

import flyteray as flyte

env = flyte.TaskEnvironment("typed_as_in_flyte")
FOUND = flyte.current_project()


@env.task
def whose() -> list[str]:
    return [FOUND, flyte.current_project(), flyte.current_domain(), flyte.ctx().action.org]


@env.task
def told() -> list[str]:
    return [os.environ["LEVEL"], flyte.ctx().raw_data_path]


@env.task
def named(labels: str = "a", env_vars: str = "b", logs: str = "c") -> list[str]:
    return [labels, env_vars, logs, os.environ["LEVEL"]]


@env.task
def fails() -> None:
    raise LookupError("no data")
"""

Command = Callable[..., Result]


@pytest.fixture
def command(
    tmp_path: Path, own_path: None, own_session: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """The command in a folder of its own, after which the loggers are as they were."""
    (tmp_path / "typed.py").write_text(FILE.replace("FOUND = flyte.current_project()", "FOUND = ''"))
    (tmp_path / "owned.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    yield lambda *arguments: CliRunner().invoke(flyteray, arguments)
    _logging.configure()


def words(text: str) -> str:
    return " ".join(text.replace("│", " ").split())


def test_owner_is_that_of_the_options_when_the_file_is_loaded_and_when_the_task_runs(
    command: Command,
) -> None:
    done = command(
        "-of", "json", "--org", "o", "run", "--local", "-p", "p", "--domain", "d", "owned.py", "whose"
    )

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["outputs"] == [["p", "p", "d", "o"]]


def test_options_of_a_run_reach_its_tasks(command: Command, tmp_path: Path) -> None:
    done = command(
        *(
            "run",
            "--local",
            "-e",
            "LEVEL=3",
            "--raw-data-path",
            str(tmp_path / "raw"),
            "typed.py",
            "told",
            "--json",
        )
    )

    level, folder = json.loads(done.stdout)["outputs"][0]
    assert level == "3"
    assert folder.startswith(str(tmp_path / "raw"))


def test_inputs_may_be_called_as_the_command_calls_its_own_options(command: Command) -> None:
    run = (
        "run",
        "--local",
        "typed.py",
        "named",
        "--labels",
        "1",
        "--label",
        "team=a",
        "-e",
        "LEVEL=3",
        "--json",
    )

    assert json.loads(command(*run).stdout)["outputs"] == [["1", "b", "c", "3"]]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "--local", "--queue", "q"], "--queue has no meaning on Ray and changes nothing."),
        (["run", "--local", "--service-account", "me"], "--service-account has no meaning"),
        (["run", "--local", "--debug"], "--debug has no meaning"),
        (["run", "--local", "--tui"], "A terminal shows the tree of actions as it grows in any case."),
        (["run", "--local", "--run-project", "p"], "--run-project has no meaning"),
        (["run", "--local", "--no-sync-local-sys-paths"], "--no-sync-local-sys-paths has no meaning"),
        (["--endpoint", "dns:///x", "run", "--local"], "RAY_ADDRESS names a cluster."),
        (["--insecure", "run", "--local"], "--insecure has no meaning"),
        (["--builder", "remote", "run", "--local"], "--image-builder has no meaning"),
        (["--auth-type", "pkce", "run", "--local"], "--auth-type has no meaning"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_means_nothing_is_taken_and_said_once(command: Command, arguments: list[str], said: str) -> None:
    done = command(*arguments, "-e", "LEVEL=1", "typed.py", "told")

    assert done.exit_code == 0, done.output
    assert words(done.stderr).count(said) == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["run", "-e", "LEVEL", "typed.py", "told"], "'LEVEL' is not KEY=VALUE"),
        (["run", "--image", "=uri", "typed.py", "told"], "'=uri' names no image: write name=uri."),
        (["run", "--max-action-concurrency", "1", "typed.py", "fails"], "max_action_concurrency must be 0"),
        (["run", "--tracked", "typed.py", "fails"], "tracked is of local runs only"),
        (["--log-level", "loud", "run", "typed.py", "told"], "--log-level is 'loud'"),
        (["-of", "xml", "run", "typed.py", "told"], "'xml' is not one of"),
        (["up", "-p", "8000"], "No such option '-p'"),
        (["run", "--image", "a=b", "deployed-task", "env.task"], "--image is for files"),
        (["run", "typed.py", "told", "-p", "p"], "Put -p before the file, not behind the task."),
        (["get", "io"], "Missing argument 'RUN'"),
    ],
)
def test_a_wrong_value_is_wrong_usage(command: Command, arguments: list[str], problem: str) -> None:
    done = command(*arguments)

    assert done.exit_code == 2
    assert problem in words(done.stderr)


@pytest.mark.parametrize("form", ["-of json", "-of json-raw", "--output-format JSON"])
def test_results_have_the_form_that_is_said_before_the_verb(command: Command, form: str) -> None:
    assert json.loads(command(*form.split(), "run", "--local", "typed.py", "told", "-e", "LEVEL=1").stdout)
    assert json.loads(command("run", "--local", "typed.py", "told", "-e", "LEVEL=1", *form.split()).stdout)

    table = command(
        *form.split(), "run", "--local", "-o", "table", "-e", "LEVEL=1", "typed.py", "told"
    ).stdout
    assert table.startswith("run ")


def test_verbose_shows_all_frames_and_what_is_logged(command: Command) -> None:
    plain = command("run", "--local", "typed.py", "fails")
    verbose = command("-vvv", "run", "--local", "typed.py", "fails")

    assert (plain.exit_code, verbose.exit_code) == (1, 1)
    assert "cli/verbs/run.py" not in plain.stderr
    assert "cli/verbs/run.py" in verbose.stderr
    assert logging.getLogger("flyteray").level == logging.DEBUG


@pytest.mark.parametrize(
    "verb",
    [
        "deploy",
        "build",
        "serve",
        "rerun",
        "get run",
        "get io",
        "abort run",
        "delete app",
        "create trigger",
        "signal condition",
    ],
)
def test_all_verbs_of_flyte_take_an_owner(command: Command, verb: str) -> None:
    done = command(*verb.split(), "-p", "p", "-d", "d", "--help")

    assert done.exit_code == 0, done.output


def test_who_looks_at_what_is_there_is_told_that_projects_are_one(command: Command) -> None:
    done = command("get", "run", "-p", "p")

    assert done.stderr.startswith(
        "--project has no meaning on Ray and changes nothing. All projects are one here.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "instead"),
    [
        ("start tui", "`flyteray up` starts a local cluster"),
        ("stop devbox", "`flyteray down` ends the local cluster."),
        ("prefetch hf-model x", "Have a task fetch the model"),
        ("gen docs --type markdown", "`flyteray VERB --help` tells of each verb."),
        ("edit settings", "`flyteray get config` shows it."),
        ("proxy app", "`flyteray get app NAME`"),
        ("get settings", "`flyteray get config` shows what is configured."),
        ("create project --id x", "Ray has none"),
        ("get api-key", "`flyteray get key`"),
        ("create secret s --type image_pull", "no secrets of type 'image_pull' on Ray"),
        ("run python-script x.py", "`python SCRIPT`"),
        ("run hello", "Write a file with a task in it"),
        ("serve hello", "Write a file with an app"),
    ],
)
def test_what_flyte_alone_has_is_answered_with_what_there_is(
    command: Command, arguments: str, instead: str
) -> None:
    done = command(*arguments.split())

    assert done.exit_code == 2
    assert instead in words(done.stderr)


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["r1", "-o"], (True, "table")),
        (["-o", "r1"], (True, "table")),
        (["r1", "-o", "json"], (False, "json")),
        (["r1", "-o", "-o", "json"], (True, "json")),
        (["r1", "--output", "json", "--outputs-only"], (True, "json")),
    ],
)
def test_a_short_option_of_two_meanings_is_told_by_what_follows(
    arguments: list[str], meant: tuple[bool, str]
) -> None:
    with get_io.make_context("io", arguments) as ctx:
        assert (ctx.params["outputs_only"], ctx.params["output"]) == meant
        assert ctx.params["run"] == "r1"


@pytest.mark.parametrize(
    "arguments", [["r1", "-f"], ["-f", "r1"], ["run", "r1", "-f"], ["-l", "3", "r1", "--pretty"]]
)
def test_options_of_logs_stand_before_the_run_as_well(command: Command, arguments: list[str]) -> None:
    done = command("get", "logs", *arguments)

    assert done.exit_code == 1
    assert "No local cluster runs" in done.stderr
