"""Which runs local apps take outputs of, where the registry of their home knows them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from flyteray._client.local_serve import LocalApps
from flyteray._control.registry import Registry
from flyteray._plan.spec import (
    ActionPhase,
    CodeRef,
    EnvironmentSpec,
    OutputRef,
    ParameterSpec,
    RunSpec,
    TaskPlan,
    TaskSpec,
)
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
def apps(tmp_path: Path) -> Iterator[LocalApps]:
    apps = LocalApps(tmp_path)
    yield apps
    apps.end()


def run(apps: LocalApps, settings: Settings, **fields: str | bool) -> str | None:
    output = OutputRef(**{"task_name": "env.train", **fields})
    parameter, storage = apps._pin(ParameterSpec(name="model", kind="object", output=output), settings)
    assert storage == settings.storage
    assert parameter.output is not None
    return parameter.output.run_name


def test_versions_of_tasks_count(apps: LocalApps, settings: Settings) -> None:
    assert run(apps, settings) == "r3"
    assert run(apps, settings, task_version="v1") == "r1"
    assert run(apps, settings, latest_version=True) == "r2"
    with pytest.raises(ParameterMaterializationError, match=r"'model'.*'env\.tune'"):
        run(apps, settings, task_name="env.tune", latest_version=True)


def test_a_local_app_says_that_it_follows_nothing(apps: LocalApps, settings: Settings) -> None:
    with pytest.warns(
        UserWarning, match="'model': a local app follows no task. It has the output of run 'r3'"
    ):
        assert run(apps, settings, follow=True) == "r3"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(apps, settings)
