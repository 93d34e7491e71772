"""Scripts that say `import flyte`, run with flyteray in its place beside a Flyte that must not be loaded."""

from __future__ import annotations

import os
import sys
import urllib.request
from pathlib import Path

import pytest

from flyteray.remote import App
from tests.acceptance.command import Shell

SCRIPTS = Path(__file__).with_name("as_flyte")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A terminal beside an installed Flyte whose import fails; `FLYTERAY_HOME` is said with each command."""
    real = tmp_path_factory.mktemp("installed") / "flyte"
    real.mkdir()
    (real / "__init__.py").write_text("raise RuntimeError('this is the real flyte')\n")
    return Shell(SCRIPTS, real.parent)


def on(shell: Shell) -> dict[str, str]:
    return {"PYTHONPATH": str(shell.home), "FLYTERAY_HOME": os.environ["FLYTERAY_HOME"]}


def script(shell: Shell, *arguments: str) -> str:
    done = shell.run([sys.executable, "-m", "flyteray.as_flyte", *arguments], **on(shell))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("cluster")
def test_a_script_runs_as_it_is_with_its_tasks_and_their_child_processes(shell: Shell) -> None:
    assert "14 below zero" in script(shell, "tasks.py", "4")


@pytest.mark.usefixtures("cluster")
def test_tasks_that_travel_by_value_mean_flyteray_as_well(shell: Shell) -> None:
    assert script(shell, "by_value.py").splitlines() == [
        "three times: 15",
        "TooLarge - more than a digit",
    ]


@pytest.mark.usefixtures("cluster")
def test_an_app_is_served_and_a_task_calls_it(shell: Shell) -> None:
    served = shell.flyteray("serve", "--as-flyte", "web.py", "web", **on(shell))
    try:
        assert served.returncode == 0, served.stderr
        run = shell.flyteray("run", "--as-flyte", "web.py", "through_the_app", "--x", "21", **on(shell))

        assert "42" in run.stdout, run.stderr
        endpoint = App.get("as-flyte-web").endpoint
        with urllib.request.urlopen(f"{endpoint}/double?x=4") as answer:
            assert answer.read() == b'{"doubled":8,"mode":"remote"}'
    finally:
        App.delete("as-flyte-web")


def test_a_program_that_is_an_app_in_local_mode_means_flyteray_too(shell: Shell, tmp_path: Path) -> None:
    done = shell.run(
        [sys.executable, "-m", "flyteray.as_flyte", "program.py"],
        PYTHONPATH=str(shell.home),
        FLYTERAY_HOME=str(tmp_path),
    )

    assert (done.returncode, done.stdout) == (0, "it says hello\n"), done.stderr


@pytest.mark.usefixtures("cluster")
def test_what_was_deployed_so_runs_so_for_everybody(shell: Shell) -> None:
    deployed = shell.flyteray("deploy", "--as-flyte", "nightly.py", **on(shell))
    run = shell.flyteray("run", "deployed-task", "as_flyte_nightly.main", **on(shell))

    assert deployed.returncode == 0, deployed.stderr
    assert "good night, moon" in run.stdout, run.stderr


def test_without_the_option_the_error_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text("import flyte\n")
    shell = Shell(tmp_path, tmp_path)

    done = shell.flyteray("run", "plain.py", "main")

    assert done.returncode == 1
    assert "--as-flyte" in done.stderr


def test_the_traceback_of_a_script_is_the_scripts(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("import flyte\nflyte.nothing_of_the_kind\n")

    done = Shell(tmp_path, tmp_path).run([sys.executable, "-m", "flyteray.as_flyte", "fails.py"])

    assert done.returncode == 1
    assert done.stderr.count("File ") == 1
    assert "AttributeError: module 'flyteray' has no attribute 'nothing_of_the_kind'" in done.stderr
