from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flyteray.cli.root import flyteray

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, own_session: None, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(flyteray, arguments)


def test_a_file_is_written_and_shown(command: Command, tmp_path: Path) -> None:
    written = command(
        "create", "config", "--project", "p", "-d", "d", "--endpoint", "dns:///x", "--builder", "remote"
    )
    shown = command("--org", "o", "get", "config", "-o", "json")

    assert written.exit_code == 0, written.output
    assert "What it says of admin and image is for Flyte" in written.stderr
    facts = json.loads(shown.stdout)
    assert facts["file"] == str(tmp_path / ".flyte" / "config.yaml")
    assert (facts["org"], facts["project"], facts["domain"]) == ("o", "p", "d")
    assert facts["home"] == str(tmp_path / "home")
    assert "(admin) has no meaning on Ray" in shown.stderr


def test_a_file_that_is_there_is_kept_unless_told_otherwise(command: Command, tmp_path: Path) -> None:
    (tmp_path / "team.yaml").write_text("task: {org: mine}\n")
    config = ("create", "config", "-o", "team.yaml", "--org", "other")

    refused = command(*config)
    assert refused.exit_code == 2
    assert "--force" in refused.stderr
    assert (tmp_path / "team.yaml").read_text() == "task: {org: mine}\n"

    forced = command("-of", "json", *config, "--force")
    assert json.loads(forced.stdout) == {"file": str(tmp_path / "team.yaml"), "task": {"org": "other"}}
    assert json.loads(command("-c", "team.yaml", "get", "config", "--json").stdout)["org"] == "other"


def test_a_file_that_would_say_nothing_is_not_written(command: Command, tmp_path: Path) -> None:
    assert command("create", "config").exit_code == 2
    assert not (tmp_path / ".flyte").exists()


def test_who_asks_is_the_user_of_this_machine(command: Command, tmp_path: Path) -> None:
    assert json.loads(command("whoami", "--json").stdout)["home"] == str(tmp_path / "home")


def test_all_is_in_one_project_of_the_name_that_is_configured(command: Command) -> None:
    command("create", "config", "--project", "p")

    assert [each["name"] for each in json.loads(command("get", "project", "--json").stdout)] == ["p"]
    assert json.loads(command("get", "project", "--archived", "--json").stdout) == []
    assert "There is no project 'q'" in command("get", "project", "q").stderr
