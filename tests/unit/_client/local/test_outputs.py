"""Which runs local apps take outputs of, where the registry of their home knows them."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flyteray._client.local.outputs import LocalOutputs
from flyteray._control.registry.registry import Registry
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import OutputRef, TaskPlan
from flyteray._settings import Settings
from flyteray.errors import ParameterMaterializationError
from tests.unit.builders import NOON, run_spec
from tests.waiting import eventually


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    monkeypatch.delenv("FLYTERAY_STORAGE", raising=False)
    monkeypatch.delenv("FLYTERAY_DATABASE", raising=False)
    settings = Settings.load()
    Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for name, version in (("r1", "v1"), ("r2", "v2"), ("r3", None)):
        succeed(settings, name, version)
    return settings


def succeed(settings: Settings, name: str, version: str | None = None, at: datetime = NOON) -> None:
    """Record a run of the task, of a deployed one where there is a version."""
    registry = Registry(settings.database_url)
    registry.runs.create(spec := run_spec(name, version=version), at)
    registry.runs.finish(name, ActionPhase.SUCCEEDED, None, 1, at)
    if version is not None:
        asyncio.run(registry.tasks.deploy([TaskPlan(spec=spec.task)], datetime.now(timezone.utc)))
    registry.close()


@pytest.fixture
def outputs(tmp_path: Path) -> Iterator[LocalOutputs]:
    (tmp_path / "shared").mkdir()
    yield LocalOutputs(tmp_path / "shared", tmp_path / "newest.json")
    shutil.rmtree(tmp_path / "shared")  # looking for newer runs ends with it


def located(outputs: LocalOutputs, settings: Settings, **fields: Any) -> str:
    run, storage = outputs.locate("model", OutputRef(**{"task_name": "env.train", **fields}), settings)
    assert storage == settings.storage
    return run


def test_versions_of_tasks_count(outputs: LocalOutputs, settings: Settings) -> None:
    assert located(outputs, settings) == "r3"
    assert located(outputs, settings, task_version="v1") == "r1"
    assert located(outputs, settings, latest_version=True) == "r2"
    with pytest.raises(ParameterMaterializationError, match=r"'model'.*'env\.tune'"):
        located(outputs, settings, task_name="env.tune", latest_version=True)


def followed(version: str | None = None, task: str = "env.train") -> OutputRef:
    return OutputRef(task_name=task, task_version=version, follow=True)


def test_newer_runs_are_told_of_though_others_can_not_be_found(
    outputs: LocalOutputs, settings: Settings, tmp_path: Path
) -> None:
    def newest(ref: OutputRef) -> str:
        run: str = json.loads((tmp_path / "newest.json").read_text())[ref.digest()][0]
        return run

    elsewhere = tmp_path / "other.sqlite"
    shutil.copy(settings.database_url.removeprefix("sqlite:///"), elsewhere)
    outputs.follow("old", followed("v1"), replace(settings, database=f"sqlite:///{elsewhere}"))
    outputs.follow("model", followed(), settings)
    with pytest.raises(ParameterMaterializationError, match=r"'other'.*'env\.tune'"):
        outputs.follow("other", followed(task="env.tune"), settings)
    assert (newest(followed("v1")), newest(followed())) == ("r1", "r3")

    elsewhere.write_text("no database")
    succeed(settings, "r4", at=NOON + timedelta(hours=1))

    assert eventually(lambda: newest(followed()) == "r4")
    assert newest(followed("v1")) == "r1"
