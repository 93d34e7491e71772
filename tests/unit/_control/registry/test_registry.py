from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import traceback
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from flyteray._control.apps.state import AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._control.registry.registry import Registry
from flyteray._plan.info import ActionEvent, ActionPhase, ErrorInfo
from flyteray._plan.runs import RunFilter, TimeFilter
from flyteray._plan.spec import EnvironmentSpec
from flyteray._plan.traffic.canary import CanaryRecord, CanarySpec
from flyteray._plan.traffic.figures import Figures
from flyteray._plan.traffic.judgement import Evidence
from flyteray.app import Canary
from flyteray.errors import InitializationError, RunAlreadyExistsError, RunNotFoundError
from tests.unit.builders import NOON, app_record, app_spec, replica_record, run_spec, version_record


def action_event(action: str, phase: ActionPhase, seconds: float = 0, **fields: Any) -> ActionEvent:
    defaults = {"run": "r", "parent": None if action == "a0" else "a0", "task": "env.train"}
    return ActionEvent(action=action, phase=phase, at=NOON.timestamp() + seconds, **{**defaults, **fields})


def test_a_registry_keeps_the_name_that_it_has_got(registry: Registry, url: str, tmp_path: Path) -> None:
    another = Registry(f"sqlite:///{tmp_path}/another.sqlite")
    name = registry.identity()

    again = Registry(url)
    assert again.identity() == name
    assert another.identity() not in ("", name)
    again.close()
    another.close()


def test_a_run_is_queued_then_runs_then_ends(registry: Registry) -> None:
    created = registry.runs.create(run_spec("r"), NOON)
    queued = registry.runs.get("r")
    registry.runs.started("r", NOON + timedelta(seconds=1))
    running = registry.runs.get("r")
    first = registry.runs.finish("r", ActionPhase.SUCCEEDED, None, 2**40, NOON + timedelta(seconds=2))
    ended = registry.runs.get("r")

    assert created == queued
    assert [info.phase.value for info in (queued, running, ended)] == ["queued", "running", "succeeded"]
    assert first
    assert (ended.created_at, ended.started_at, ended.ended_at) == (
        NOON,
        NOON + timedelta(seconds=1),
        NOON + timedelta(seconds=2),
    )
    assert ended.output_bytes == 2**40
    assert registry.runs.spec("r") == run_spec("r")


def test_the_first_end_of_a_run_counts(registry: Registry) -> None:
    registry.runs.create(run_spec("r"), NOON)
    error = ErrorInfo(code="ValueError", message="3", traceback="t", pickled=b"\x00\xff")
    registry.runs.finish("r", ActionPhase.FAILED, error, None, NOON)

    again = registry.runs.finish("r", ActionPhase.SUCCEEDED, None, 1, NOON)

    assert not again
    assert registry.runs.get("r").phase is ActionPhase.FAILED
    assert registry.runs.get("r").error == error


def test_a_late_report_of_the_start_does_not_bring_a_run_back(registry: Registry) -> None:
    registry.runs.create(run_spec("r"), NOON)
    registry.runs.finish("r", ActionPhase.ABORTED, None, None, NOON + timedelta(seconds=9))

    registry.runs.started("r", NOON + timedelta(seconds=5))
    registry.runs.started("r", NOON + timedelta(seconds=7))

    assert registry.runs.get("r").phase is ActionPhase.ABORTED
    assert registry.runs.get("r").started_at == NOON + timedelta(seconds=5)


def test_a_name_is_taken_once(registry: Registry) -> None:
    registry.runs.create(run_spec("r"), NOON)

    with pytest.raises(RunAlreadyExistsError, match="'r' exists already"):
        registry.runs.create(run_spec("r"), NOON)


def test_a_missing_run_is_answered_with_similar_ones(registry: Registry) -> None:
    with pytest.raises(RunNotFoundError, match="There are no runs yet"):
        registry.runs.get("train-1")
    registry.runs.create(run_spec("train-1"), NOON)

    for ask in [registry.runs.get, registry.runs.spec, registry.actions.of_run]:
        with pytest.raises(RunNotFoundError, match=r"no run 'trian-1'\. Did you mean 'train-1'"):
            ask("trian-1")
    with pytest.raises(RunNotFoundError, match="newest runs are 'train-1'"):
        registry.runs.finish("x", ActionPhase.FAILED, None, None, NOON)


def test_runs_are_listed_newest_first_and_as_picky_as_asked(registry: Registry) -> None:
    for index in range(6):
        registry.runs.create(run_spec(f"r{index}", "env.train" if index % 2 else "env.score"), NOON)
    for name in ["r1", "r3", "r4"]:
        registry.runs.finish(name, ActionPhase.SUCCEEDED, None, 0, NOON)

    def names(**choice: Any) -> list[str]:
        return [run.name for run in registry.runs.listall(**choice)]

    assert names() == ["r5", "r4", "r3", "r2", "r1", "r0"]
    assert names(limit=2) == ["r5", "r4"]
    assert names(task="env.score") == ["r4", "r2", "r0"]
    assert names(phase=ActionPhase.SUCCEEDED, task="env.train") == ["r3", "r1"]
    assert registry.runs.unfinished() == ["r0", "r2", "r5"]


def test_runs_are_found_by_labels_version_and_times_and_sorted(registry: Registry) -> None:
    for index in range(4):
        labels = {"team": "a" if index % 2 else "A", "n": str(index)} if index else {}
        spec = run_spec(f"r{index}", version=f"v{index}").model_copy(update={"labels": labels})
        registry.runs.create(spec, NOON + timedelta(hours=index))
    registry.runs.finish("r0", ActionPhase.FAILED, None, None, NOON + timedelta(hours=9))

    def names(**asked: Any) -> list[str]:
        return [run.name for run in registry.runs.find(RunFilter(**asked))]

    assert names(labels={"team": "a"}) == ["r3", "r1"]
    assert names(labels={"team": "a"}, limit=1) == ["r3"]
    assert names(label_keys=("n",)) == ["r3", "r2", "r1"]
    assert names(version="v2") == ["r2"]
    assert names(created=TimeFilter(NOON + timedelta(hours=1), NOON + timedelta(hours=3))) == ["r2", "r1"]
    assert names(updated=TimeFilter(after=NOON + timedelta(hours=3))) == ["r3", "r0"]
    assert names(sorted_by="updated_at") == ["r0", "r3", "r2", "r1"]
    assert names(sorted_by="ended_at", descending=False)[0] == "r0"
    assert names(descending=False, limit=2) == ["r0", "r1"]
    assert names(phases=(ActionPhase.FAILED, ActionPhase.INITIALIZING), limit=2) == ["r3", "r2"]
    assert registry.runs.get("r1").labels == {"team": "a", "n": "1"}
    assert (registry.runs.get("r0").labels, registry.runs.get("r0").version) == ({}, "v0")


def test_small_inputs_of_actions_are_kept_and_stay_when_more_is_told_of_them(registry: Registry) -> None:
    called = NOON.timestamp() - 1
    registry.actions.record([action_event("a1", ActionPhase.RUNNING, 1, inputs=b"pickled", called=called)])
    registry.actions.record([action_event("a1", ActionPhase.SUCCEEDED, 2, began=NOON.timestamp() + 1)])

    known = registry.actions.get("r", "a1")
    assert registry.actions.inputs("r", "a1") == b"pickled"
    assert (registry.actions.inputs("r", "a2"), registry.actions.get("r", "a2")) == (None, None)
    assert known is not None
    assert (known.phase, known.created_at) == (ActionPhase.SUCCEEDED, NOON - timedelta(seconds=1))


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_run_began_within_its_time_where_its_worker_has_another_clock(
    registry: Registry, hours: int
) -> None:
    registry.runs.create(run_spec("r"), NOON)
    registry.runs.started("r", NOON + timedelta(hours=hours))
    registry.runs.finish("r", ActionPhase.SUCCEEDED, None, 1, NOON + timedelta(seconds=9))

    run = registry.runs.get("r")

    assert run.started_at == (run.created_at if hours < 0 else run.ended_at)


def test_the_newest_success_is_the_one_that_was_started_last(registry: Registry) -> None:
    for name in ["old", "new", "failed"]:
        registry.runs.create(run_spec(name), NOON)
    registry.runs.finish("new", ActionPhase.SUCCEEDED, None, 0, NOON)
    registry.runs.finish("old", ActionPhase.SUCCEEDED, None, 0, NOON + timedelta(hours=1))
    registry.runs.finish("failed", ActionPhase.FAILED, None, None, NOON)

    assert registry.runs.newest_success("env.train") == "new"
    assert registry.runs.newest_success("env.other") is None


def test_the_newest_success_of_a_version_is_no_other_versions(registry: Registry) -> None:
    for name, version, code in [("r1", "v_1", "c"), ("r2", "v-1", "c"), ("r3", None, "v_1")]:
        spec = run_spec(name)
        named = spec.task.code.model_copy(update={"version": code})
        task = spec.task.model_copy(update={"version": version, "code": named})
        registry.runs.create(spec.model_copy(update={"task": task}), NOON)
        registry.runs.finish(name, ActionPhase.SUCCEEDED, None, 0, NOON)

    assert registry.runs.newest_success("env.train", "v_1") == "r1"
    assert registry.runs.newest_success("env.train", "v-1") == "r2"
    assert registry.runs.newest_success("env.train", "c") is None


def test_times_of_other_zones_are_the_same_times(registry: Registry) -> None:
    registry.runs.create(run_spec("r"), NOON.astimezone(timezone(timedelta(hours=5))))

    assert registry.runs.get("r").created_at == NOON


def test_actions_are_listed_as_they_started_with_the_root_first(registry: Registry) -> None:
    registry.actions.record(
        [
            action_event("waiting", ActionPhase.QUEUED),
            action_event("late", ActionPhase.RUNNING, 9),
            action_event("early", ActionPhase.RUNNING, 1),
        ]
    )
    registry.actions.record([action_event("a0", ActionPhase.RUNNING, 20)])

    assert [info.action for info in registry.actions.of_run("r")] == ["a0", "early", "late", "waiting"]


def test_what_is_reported_in_two_batches_adds_up(registry: Registry) -> None:
    registry.actions.record([action_event("a0", ActionPhase.FAILED, 3, attempt=0, error="x")])
    registry.actions.record([action_event("a0", ActionPhase.RUNNING, 1, attempt=0)])
    failed = registry.actions.of_run("r")[0]
    registry.actions.record([action_event("a0", ActionPhase.RUNNING, 5, attempt=1)])
    again = registry.actions.of_run("r")[0]

    assert (failed.phase, failed.error, failed.attempts) == (ActionPhase.FAILED, "x", 1)
    assert failed.started_at == NOON + timedelta(seconds=1)
    assert (again.phase, again.error, again.attempts) == (ActionPhase.RUNNING, None, 2)
    assert again.started_at == NOON + timedelta(seconds=1)
    assert again.ended_at is None


def test_each_attempt_is_told_of_with_its_times(registry: Registry) -> None:
    for attempt, phase, seconds, error in [
        (0, ActionPhase.RUNNING, 1, None),
        (0, ActionPhase.FAILED, 2, "x"),
        (1, ActionPhase.RUNNING, 3, None),
        (1, ActionPhase.SUCCEEDED, 4, None),
    ]:
        registry.actions.record([action_event("a0", phase, seconds, attempt=attempt, error=error)])
    first, second = registry.actions.tries.of_action(*registry.actions.of_run("r"))

    assert (first.attempt, first.phase, first.error) == (1, ActionPhase.FAILED, "x")
    assert (first.started_at, first.ended_at) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=2))
    assert (second.attempt, second.phase) == (2, ActionPhase.SUCCEEDED)
    assert second.started_at == NOON + timedelta(seconds=3)
    began = [registry.actions.tries.began("r", "a0", number) for number in (1, 2, 3)]
    assert began == [NOON + timedelta(seconds=1), NOON + timedelta(seconds=3), None]


def test_the_only_attempt_is_told_of_by_its_action(registry: Registry) -> None:
    registry.actions.record([action_event("a0", ActionPhase.RUNNING, 1)])
    running = registry.actions.tries.began("r", "a0", 1)
    registry.actions.record([action_event("a0", ActionPhase.SUCCEEDED, 2)])
    (only,) = registry.actions.tries.of_action(*registry.actions.of_run("r"))

    assert running == NOON + timedelta(seconds=1)
    assert (only.attempt, only.phase) == (1, ActionPhase.SUCCEEDED)
    assert (only.started_at, only.ended_at) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=2))


def test_nothing_to_record_is_fine(registry: Registry) -> None:
    registry.actions.record([])


def test_a_thousand_reports_take_a_handful_of_statements(registry: Registry) -> None:
    phases = [ActionPhase.RUNNING, ActionPhase.SUCCEEDED]
    events = [action_event(f"a{index}", phase) for index in range(500) for phase in phases]
    registry.actions.record(events)
    statements: list[str] = []
    event.listen(
        registry.database._engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2])
    )

    registry.actions.record(events)

    assert 0 < len(statements) < 10, statements
    assert len(registry.actions.of_run("r")) == 500


def app(name: str, target: str) -> AppRecord:
    return app_record(name, target)


def version(version_id: str, app: str) -> VersionRecord:
    spec = app_spec(app, environment=EnvironmentSpec(env_vars={"A": "ü"}))
    return version_record(version_id, VersionPhase.PENDING, spec, None)


def replica(replica_id: str, version: str) -> ReplicaRecord:
    return replica_record(version, replica_id=replica_id)


def fill(registry: Registry) -> None:
    for name in ["one", "two"]:
        registry.apps.save_version(version(f"{name}-v", name))
        registry.apps.save_app(app(name, f"{name}-v"))
        registry.apps.save_replica(replica(f"{name}-r", f"{name}-v"))


EVIDENCE = Evidence().after(Figures(requests=9), Figures(requests=2, errors=1), 1.1)


def test_apps_come_back_as_they_were_saved_last(registry: Registry) -> None:
    fill(registry)
    error = ErrorInfo(code="DeploymentError", message="m")
    ready = replace(
        version("one-v", "one"),
        phase=VersionPhase.DRAINING,
        backend=3,
        draining_since=NOON,
        error=error,
        canary=CanaryRecord(spec=CanarySpec.of(Canary()), step=1, since=NOON, evidence=EVIDENCE),
    )
    serving = replace(
        app("one", "one-v"),
        serving="one-v",
        desired="stopped",
        revision=2,
        shares={"two-v": 5},
        routed={"two-v": 1},
        sticks="X-User",
        previous="none-v",
    )
    moved = replace(replica("one-r", "one-v"), slot=7)

    registry.apps.save_version(ready)
    registry.apps.save_app(serving)
    registry.apps.save_replica(moved)

    assert set(registry.apps.load_apps()) == {serving, app("two", "two-v")}
    assert {v.id: v for v in registry.apps.load_versions()} == {
        "one-v": ready,
        "two-v": version("two-v", "two"),
    }
    assert {r.info.replica_id: r for r in registry.apps.load_replicas()} == {
        "one-r": moved,
        "two-r": replica("two-r", "two-v"),
    }


def test_a_deleted_app_takes_its_versions_and_replicas_along(registry: Registry) -> None:
    fill(registry)

    registry.apps.delete_app("one")
    registry.apps.delete_app("never was")
    registry.apps.delete_replica("two-r")
    registry.apps.delete_replica("never was")

    assert registry.apps.load_apps() == [app("two", "two-v")]
    assert registry.apps.load_versions() == [version("two-v", "two")]
    assert registry.apps.load_replicas() == []


def test_a_version_whose_app_was_never_saved_is_not_loaded(registry: Registry) -> None:
    registry.apps.save_version(version("v", "crashed between"))

    assert registry.apps.load_versions() == []


def test_what_was_recorded_survives_a_killed_process(url: str) -> None:
    code = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parents[4])!r})
from tests.unit._control.registry.test_registry import *
registry = Registry({url!r})
registry.runs.create(run_spec("r"), NOON)
registry.actions.record([action_event("a0", ActionPhase.RUNNING)])
fill(registry)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)

    registry = Registry(url)

    assert registry.runs.get("r").phase is ActionPhase.QUEUED
    assert len(registry.actions.of_run("r")) == 1
    assert len(registry.apps.load_replicas()) == 2
    registry.close()


def test_readers_and_two_writers_do_not_disturb_each_other(url: str, registry: Registry) -> None:
    registry.runs.create(run_spec("r"), NOON)
    failures: list[BaseException] = []

    def work(name: str) -> None:
        other = Registry(url)
        try:
            for index in range(30):
                other.actions.record([action_event(f"{name}{index}", ActionPhase.RUNNING)])
                other.actions.of_run("r")
        except BaseException as error:  # noqa: BLE001 # shown by the assertion below
            failures.append(error)
        other.close()

    threads = [threading.Thread(target=work, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert len(registry.actions.of_run("r")) == 60


def test_a_newer_schema_is_left_alone(url: str) -> None:
    registry = Registry(url)
    with registry.database._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE flyteray_schema SET version = 99")
    registry.close()

    for _ in range(2):
        with pytest.raises(
            InitializationError, match=r"newer flyteray \(schema 99; this one knows \d+\): upgrade"
        ):
            Registry(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "registry.sqlite"
    path.write_bytes(b"not a database" * 1000)

    with pytest.raises(
        InitializationError, match=r"registry\.sqlite can't be opened: file is not a database"
    ):
        Registry(f"sqlite:///{path}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@127.0.0.1:9/db", r"me:\*\*\*@127\.0\.0\.1:9/db can't be opened: .*refused"),
        (
            "postgresql://me@127.0.0.1:9/db?password=secret",
            r"//me@127\.0\.0\.1:9/db can't be opened: .*refused",
        ),
        ("mysql://me:secret@host/db", r"'mysql://\*\*\*@host/db' is no address of a registry"),
        ("postgresql:/me:secret@host/db", r"'postgresql:/\*\*\*@host/db' is no address"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    with pytest.raises((InitializationError, ValueError), match=shown) as refused:
        Registry(url)

    assert "secret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("url", ["registry.sqlite", "", "mysql://host/db", "s3://bucket"])
def test_another_kind_of_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is no address of a registry: use sqlite:////path"):
        Registry(url)


def test_the_database_can_be_looked_into_with_plain_sql(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/r.sqlite")
    registry.runs.create(run_spec("r"), NOON)

    with sqlite3.connect(tmp_path / "r.sqlite") as connection:
        rows = connection.execute("SELECT name, phase, created_at FROM runs").fetchall()

    assert rows == [("r", "queued", "2026-03-01 12:00:00.000000")]
    registry.close()
