"""What is left when one of flyteray's own processes is killed: everything."""

from __future__ import annotations

from pathlib import Path

import httpx

import flyteray as flyte
from flyteray._cluster.local import LocalCluster
from flyteray.remote import ActionPhase, App, Run
from tests.integration import sample_apps as apps
from tests.integration import sample_tasks as samples
from tests.processes import process
from tests.waiting import eventually


def test_a_killed_controller_comes_back_and_knows_its_runs_and_apps(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    app = flyte.serve(apps.hello)
    before = httpx.get(f"{app.endpoint}/", timeout=60).json()
    running = flyte.run(samples.writes_when_done, str(tmp_path / "done"), 3.0)

    process(cluster, "ray::Controller").kill()

    assert httpx.get(f"{app.endpoint}/", timeout=60).json() == before
    assert running.outputs()[0] == "done"
    assert flyte.run(samples.double, 2).outputs()[0] == 4
    flyte.serve(apps.hello)
    assert httpx.get(f"{app.endpoint}/", timeout=60).json() == before
    App.delete("hello")


def test_outputs_outlive_their_keeper_and_its_runs_go_on_from_what_was_done(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    ended = flyte.run(samples.weights, 2)
    ended.wait()
    journal, gate = tmp_path / "journal", tmp_path / "gate"
    running = flyte.run(samples.notes_and_waits, str(journal), str(gate))
    eventually(lambda: journal.exists() and journal.read_text().count("\n") == 3)
    eventually(lambda: Run.get(running.name).phase is ActionPhase.RUNNING)  # its worker dies with its keeper

    process(cluster, "ray::Keeper").kill()

    assert Run.get(ended.name).outputs()[0]["w"].sum() == 2 * 131_072
    assert flyte.run(samples.double, 2).outputs()[0] == 4
    gate.touch()
    assert running.outputs()[0] == [0, 1, 2, 3]
    assert sorted(journal.read_text().split()) == ["0", "1", "2", "3"]  # none was called twice
    eventually(lambda: [each.phase for each in running.actions()] == [ActionPhase.SUCCEEDED] * 5)
    assert running.actions()[0].attempts == 2


def test_a_killed_ingress_actor_changes_nothing_for_requests(cluster: LocalCluster) -> None:
    app = flyte.serve(apps.hello)

    process(cluster, "ray::Ingress").kill()

    assert httpx.get(f"{app.endpoint}/", timeout=60).status_code == 200
    changed = flyte.serve(apps.first_change)
    assert httpx.get(f"{changed.endpoint}/", timeout=60).json()["greeting"] == "one"
    App.delete("hello")


def test_what_a_process_had_not_told_of_when_it_was_killed_is_known_from_who_called_it(
    tmp_path: Path,
) -> None:
    run = flyte.run(samples.calls_who_die, str(tmp_path))

    assert run.outputs()[0] == ["done", "Broken", "traced"]
    root, *others = run.actions()
    found = {each.task.rpartition(".")[2]: (each.phase, each.error) for each in others}
    assert root.phase is ActionPhase.SUCCEEDED
    assert found == {
        "dies_once_called": (ActionPhase.SUCCEEDED, None),
        "fails_and_dies": (ActionPhase.FAILED, "Broken: on purpose"),
        "goes_by": (ActionPhase.SUCCEEDED, None),
    }
    times = [(each.created_at, each.ended_at) for each in others if each.task.endswith("dies_once_called")]
    assert all(called and ended and called < ended for called, ended in times)
    assert all(root.ended_at and ended and ended <= root.ended_at for _, ended in times)


def test_a_run_whose_process_is_killed_behind_its_outputs_has_its_action() -> None:
    run = flyte.run(samples.dies_once_kept)

    assert run.outputs()[0] == "kept"
    assert [each.phase for each in run.actions()] == [ActionPhase.SUCCEEDED]
