"""A run is run again: as a whole, with other inputs, or the rest of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray._actors.questions import ask
from flyteray._client.session.session import session
from flyteray.errors import RunNotFoundError, RuntimeUserError
from flyteray.remote import Action, ActionPhase, Run
from tests.integration import sample_tasks as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def noted(journal: Path) -> list[str]:
    return sorted(journal.read_text().split()) if journal.exists() else []


def test_a_run_is_run_again_with_its_inputs_or_others(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    run = flyte.run(samples.notes, str(journal), 1)
    run.wait()

    again = flyte.rerun(run.name)
    changed = flyte.with_runcontext(name="changed-inputs").rerun(run.name, number=2)

    assert (again.outputs()[0], changed.outputs()[0], changed.name) == (1, 2, "changed-inputs")
    assert noted(journal) == ["1", "1", "2"]
    with pytest.raises(ValueError, match=r"has no input 'numbr': it has 'journal', 'number'\."):
        flyte.rerun(run.name, numbr=2)
    with pytest.raises(RuntimeUserError, match=r"variable 'number' .* expected int, got str: 'two'"):
        flyte.rerun(run.name, number="two").outputs()
    assert noted(journal) == ["1", "1", "2"]


def test_what_has_succeeded_is_recovered_and_the_rest_is_run(tmp_path: Path) -> None:
    journal, broken = tmp_path / "journal", tmp_path / "broken"
    broken.touch()
    run = flyte.run(samples.breaks_while_there_is, str(journal), str(broken))
    run.wait()
    assert run.phase is ActionPhase.FAILED
    assert noted(journal) == ["0", "1", "2", "trace"]
    broken.unlink()

    recovered = flyte.rerun(run.name, recover=True)

    assert recovered.outputs()[0] == [0, 1, 2, 3]
    assert noted(journal) == ["0", "1", "2", "3", "trace"]
    phases = eventually(lambda: [each.phase for each in recovered.actions()][5:6] and recovered.actions())
    assert sorted(each.phase.value for each in phases).count("recovered") == 3
    assert {each.action for each in run.actions()} <= {each.action for each in phases}

    # And once more, of what was recovered itself; one action is wanted anew.
    one = next(each.action for each in phases if each.phase is ActionPhase.RECOVERED)
    command = [str(Path(sys.executable).with_name("flyteray")), "rerun", recovered.name, "--recover"]
    done = subprocess.run(
        [*command, "--force-rerun-action", one, "--name", "recovered-twice"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Run.get("recovered-twice").outputs()[0] == [0, 1, 2, 3]
    assert len(noted(journal)) == 6


def test_who_is_given_what_is_uploaded_again_is_not_called_again_unless_it_has_changed(
    tmp_path: Path,
) -> None:
    journal, broken = tmp_path / "journal", tmp_path / "broken"
    broken.touch()
    run = flyte.run(samples.uploads, str(journal), str(broken))
    run.wait()

    calls = ["folder", "inside.txt", "made.txt", "made.txt"]
    assert noted(journal) == [*calls, "made.txt"]  # whose content says which attempt it is
    broken.unlink()
    recovered = flyte.rerun(run.name, recover=True)

    assert recovered.outputs()[0] == [6, 4, 6, 9]
    assert noted(journal) == [*calls, "made.txt"]


def test_one_action_is_run_again_as_a_run_of_its_own(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    gate = tmp_path / "gate"
    gate.touch()
    run = flyte.run(samples.notes_and_waits, str(journal), str(gate))
    assert run.outputs()[0] == [0, 1, 2, 3]
    child = next(
        each.name for each in Action.listall(run.name) if each.parent_name and each.outputs()[0] == 3
    )

    again = flyte.rerun(run.name, child)
    changed = flyte.rerun(run.name, action_name=child, number=7)

    assert (again.outputs()[0], changed.outputs()[0]) == (3, 7)
    assert (again.info.task, again.details().action_details.task_name) == ("samples.notes", "samples.notes")
    assert noted(journal) == ["0", "1", "2", "3", "3", "7"]
    with pytest.raises(ValueError, match="has no input 'numbr': it has 'journal', 'number'"):
        flyte.rerun(run.name, child, numbr=1)


def test_variables_of_a_run_are_those_of_all_its_actions_when_it_is_run_again() -> None:
    run = flyte.with_runcontext(env_vars={"TEAM": "a", "LEVEL": "1"}).run(samples.double, 2)
    again = flyte.with_runcontext(env_vars={"LEVEL": "2"}).rerun(run.name)

    spec = ask(session().controller.runs.spec(again.name))
    assert spec.wide.env_vars == {"TEAM": "a", "LEVEL": "2"}
    assert spec.task.environment.env_vars == {"TEAM": "a", "LEVEL": "2"}
    for each in (run, again):
        each.abort()


def test_what_can_not_be_run_again_says_so() -> None:
    with pytest.raises(RunNotFoundError):
        flyte.rerun("no-such-run")
    run = flyte.run(samples.double, 2)
    run.wait()
    with pytest.raises(ValueError, match="no actions 'other'"):
        flyte.rerun(run.name, recover=True, force_rerun_actions=["other"])
    with pytest.raises(ValueError, match="needs recover=True"):
        flyte.rerun(run.name, force_rerun_actions=["a0"])
    with pytest.raises(ValueError, match="recovered as a whole"):
        flyte.rerun(run.name, "other", recover=True)
    with pytest.raises(ValueError, match="has no action 'other'"):
        flyte.rerun(run.name, "other")
    with pytest.raises(NotImplementedError, match="local run is not kept"):
        flyte.with_runcontext(mode="local").rerun(run.name)
