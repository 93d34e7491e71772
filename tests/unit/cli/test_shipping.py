from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from flyteray.cli.verbs.deploy import deploy
from flyteray.cli.verbs.run import run
from flyteray.cli.verbs.serve import serve

TASK = """
import flyteray
from cli_tools.helper import NAME

env = flyteray.TaskEnvironment("from_cli")

@env.task
def work() -> str:
    return NAME
"""


@pytest.fixture
def file(tmp_path: Path, own_path: None) -> Path:
    (tmp_path / "cli_tools").mkdir()
    (tmp_path / "cli_tools/helper.py").write_text("NAME = 'helper'\n")
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/cli_flow.py").write_text(TASK)
    return tmp_path / "flows/cli_flow.py"


def test_modules_are_imported_from_the_root_as_well(file: Path, tmp_path: Path) -> None:
    options = ["--local", "--root-dir", str(tmp_path), str(file), "work"]

    result = CliRunner().invoke(run, options, env={"FLYTERAY_HOME": str(tmp_path / "home")})

    assert result.exit_code == 0, result.output
    assert "helper" in result.output


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--copy-style", "custom"], "'custom' is not one of"),
        (["--copy-style", "none"], "Version is required when copy_style is 'none'"),
        (["--root-dir", "/nowhere"], "Directory '/nowhere' does not exist"),
    ],
)
def test_what_can_not_be_shipped_like_that_is_said_before_anything_starts(
    file: Path, tmp_path: Path, wrong: list[str], message: str
) -> None:
    result = CliRunner().invoke(run, ["--root-dir", str(tmp_path), *wrong, str(file), "work"])

    assert result.exit_code != 0
    assert message in " ".join(result.output.replace("│", " ").split())


@pytest.mark.parametrize("verb", [run, serve, deploy])
def test_the_verbs_that_ship_code_ask_alike(verb: object) -> None:
    text = CliRunner().invoke(verb, ["--help"]).output  # type: ignore[arg-type]

    assert all(option in text for option in ("--copy-style", "--root-dir", "--version"))
