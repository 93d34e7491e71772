"""Which runs local apps take outputs of, where the registry of their home knows them."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from flyteray._client.local_outputs import LocalOutputs
from flyteray._control.registry import Registry
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import CodeRef, EnvironmentSpec, OutputRef, RunSpec, TaskPlan, TaskSpec
from flyteray._settings import Settings
from flyteray.errors import ParameterMaterializationError

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    monkeypatch.delenv("FLYTERAY_STORAGE", raising=False)
    monkeypatch.delenv("FLYTERAY_DATABASE", raising=False)
    settings = Settings.load()
    Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    registry = Registry(settings.database_url)
    for name, version in (("r1", "v1"), ("r2", "v2"), ("r3", None)):
        task = TaskSpec(
            name="env.train",
            code=CodeRef(bundle="b", module="m", name="n"),
            environment=EnvironmentSpec(),
            version=version,
        )
        registry.create_run(RunSpec(name=name, task=task), NOON)
        registry.finish_run(name, ActionPhase.SUCCEEDED, None, 1, NOON)
        if version is not None:
            registry.deploy_tasks([TaskPlan(spec=task)], datetime.now(timezone.utc))
    registry.close()
    return settings


@pytest.fixture
def outputs(tmp_path: Path) -> LocalOutputs:
    (tmp_path / "shared").mkdir()
    return LocalOutputs(tmp_path / "shared", tmp_path / "newest.json")


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
