from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from flyteray._control.registry.registry import Registry
from flyteray._control.runs.supervisor import Supervisor
from flyteray._plan.info import ActionEvent, ActionPhase, ErrorInfo, RunEnd
from flyteray.errors import RunNotFoundError
from flyteray.storage import open_storage
from tests.unit.builders import run_spec

NOW = datetime.now(timezone.utc)
FAILED = RunEnd(run="r1", phase=ActionPhase.FAILED, error=ErrorInfo(code="E", message="bad \udc80\0"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite"


@pytest.fixture
def registry(file: Path) -> Iterator[Registry]:
    with contextlib.closing(Registry(f"sqlite:///{file}")) as registry:
        registry.runs.create(run_spec("r1"), NOW)
        yield registry


def runs_of(registry: Registry) -> Supervisor:
    return Supervisor(registry, open_storage("/nowhere"))


def refuse(file: Path, what: str, when: str = "1") -> None:
    """Have the database answer changes as one whose disk is full."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            f"CREATE TRIGGER full BEFORE {what} WHEN {when} BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )


def accept(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TRIGGER full")


def event(action: str) -> ActionEvent:
    return ActionEvent(run="r1", action=action, parent="a0", task="t", phase=ActionPhase.RUNNING, at=1.0)


def test_who_waits_learns_of_an_end_that_the_registry_can_not_take_in(registry: Registry, file: Path) -> None:
    async def main() -> None:
        runs = runs_of(registry)
        waiting = asyncio.create_task(runs.wait("r1", 30.0))
        await asyncio.sleep(0)
        refuse(file, "UPDATE ON runs")

        with pytest.raises(DBAPIError, match="disk is full"):
            runs.finished(FAILED)  # so that its keeper tells again

        info = await asyncio.wait_for(waiting, 5.0)
        assert (info.phase, info.error) == (ActionPhase.FAILED, FAILED.error)
        assert runs.get("r1").phase is ActionPhase.FAILED
        assert registry.runs.get("r1").phase is ActionPhase.QUEUED
        accept(file)
        runs.finished(FAILED)
        assert registry.runs.get("r1").error == FAILED.error

    asyncio.run(main())


def test_the_end_of_a_run_that_is_not_there_is_not_kept(registry: Registry) -> None:
    runs = runs_of(registry)

    with pytest.raises(RunNotFoundError):
        runs.finished(FAILED.model_copy(update={"run": "gone"}))
    with pytest.raises(RunNotFoundError):
        runs.get("gone")


def test_an_event_that_is_refused_takes_no_other_with_it(registry: Registry, file: Path) -> None:
    refuse(file, "INSERT ON actions", "NEW.action = 'a0.2'")

    runs_of(registry).record([event("a0.1"), event("a0.2"), event("a0.3")])

    assert [each.action for each in registry.actions.of_run("r1")] == ["a0.1", "a0.3"]


def test_events_that_are_all_refused_are_to_be_sent_again(registry: Registry, file: Path) -> None:
    refuse(file, "INSERT ON actions")

    with pytest.raises(DBAPIError, match="disk is full"):
        runs_of(registry).record([event("a0.1"), event("a0.2")])
