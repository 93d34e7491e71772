"""The command on a cluster: what it shows, fetches, runs again and publishes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import flyteray as flyte
from flyteray.cli.root import flyteray
from flyteray.remote import Artifact
from tests.integration import sample_tasks as samples
from tests.integration import sample_timeouts
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def command(*arguments: str) -> Result:
    return CliRunner().invoke(flyteray, arguments)


def read(*arguments: str) -> Any:
    done = command("-of", "json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_run_is_run_again_with_inputs_and_labels_that_are_given(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    run = flyte.run(samples.notes, str(journal), 1)
    run.wait()

    again = read("rerun", run.name, "--input", "number=2", "--label", "team=a", "--no-logs")

    assert (again["source"], again["phase"], again["outputs"]) == (run.name, "succeeded", [2])
    assert [each["name"] for each in read("get", "run", "--with-label", "team=a")] == [again["run"]]
    unknown = command("rerun", run.name, "--input", "numbr=2")
    assert (unknown.exit_code, "numbr" in unknown.stderr) == (2, True)
    part = command("rerun", run.name, "--action-name", "a1b2")
    assert (part.exit_code, "has no action 'a1b2'" in part.stderr) == (2, True)


def test_outputs_and_code_of_an_action_are_had_as_with_flyte(tmp_path: Path) -> None:
    run = flyte.run(samples.double, 4)
    run.wait()

    assert read("get", "io", run.name, "-o") == {"outputs": {"o0": 8}}
    assert read("get", "io", run.name, "a0", "-i") == {"inputs": {"x": 4}}
    fetched = command("get", "code", run.name, "a0", "-o", str(tmp_path / "code"), "-a", "1")
    assert (tmp_path / "code" / "tests" / "integration" / "sample_tasks.py").is_file(), fetched.output
    assert "has no action 'nope'" in command("get", "code", run.name, "nope").stderr


def test_one_action_of_a_run_is_aborted(tmp_path: Path) -> None:
    run = flyte.run(sample_timeouts.says_why_its_child_ended, str(tmp_path / "notes"))

    def running() -> list[str]:
        found = read("get", "action", run.name, "--in-phase", "running")
        return [each["action"] for each in found if each["parent"] is not None]

    (child,) = eventually(running)
    assert "has no action 'b0'" in command("abort", "action", run.name, "b0").stderr
    assert read("abort", "action", run.name, child, "--reason", "too slow")["action"] == child
    assert run.outputs()[0].endswith("was aborted: too slow")


DEPLOYED = """
import flyteray as flyte

env = flyte.TaskEnvironment(name="commanded")


@env.task(entrypoint=True)
def begin(x: int) -> str:
    \"\"\"Begin a run.

    Args:
        x: How often.
    \"\"\"
    return f"{x} {flyte.current_project()}"


@env.task
def go_on() -> None:
    pass
"""


def test_deployed_tasks_tell_what_they_are_and_find_who_has_run_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_session: None
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "commanded.py").write_text(DEPLOYED)
    deployed = read("deploy", "-p", "p", str(tmp_path / "commanded.py"))
    assert {each["name"] for each in deployed} == {"commanded.begin", "commanded.go_on"}

    begins = [each["name"] for each in read("get", "task", "--env", "commanded", "--entrypoint")]
    assert begins == ["commanded.begin"]
    assert "Begin a run." in command("run", "deployed-task", "--help").stdout
    assert "How often." in command("run", "deployed-task", "commanded.begin", "--help").stdout
    assert read("run", "-p", "mine", "deployed-task", "commanded.begin", "--x", "3")["outputs"] == ["3 mine"]

    nightly, monthly = ("nightly", "commanded.go_on"), ("--schedule", "0 3 1 * *", "--no-auto-activate")
    assert read("create", "trigger", *reversed(nightly), *monthly)["active"] is False
    assert read("update", "trigger", *nightly, "--activate")["active"] is True
    assert read("get", "trigger", "commanded.go_on", "nightly")["next_time"] is not None
    assert read("delete", "trigger", *nightly)["deleted"] is True
    assert read("get", "trigger", "commanded.go_on") == []


def test_artifacts_are_published_shown_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    file = str(tmp_path / "model.bin")

    made = read(
        "create", "artifact", "commanded", "--from-file", file, "--version", "v1", "--partition", "day=1"
    )

    assert made["version"] == "v1"
    with Artifact.get("commanded").to_python().open_sync() as opened:
        assert opened.read() == b"weights"
    assert [each["version"] for each in read("get", "artifact", "commanded", "--partition", "day=1")] == [
        "v1"
    ]
    assert read("get", "artifact", "commanded", "latest")["partitions"] == {"day": "1"}
    assert read("delete", "artifact", "commanded", "v1")["deleted"] is True
    assert read("get", "artifact", "commanded") == []
    assert command("get", "artifact", "commanded", "v1").exit_code == 1
    gone = command("create", "artifact", "commanded", "--from-file", file + ".gone")
    assert (gone.exit_code, "There is no file and no folder" in gone.stderr) == (2, True)
