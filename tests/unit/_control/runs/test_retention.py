"""Runs are freed when they are old or asked to be, unless somebody needs them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.runs.retention import Retention
from flyteray._plan.info import ActionEvent, ActionPhase
from flyteray._plan.spec import OutputRef, ParameterSpec, RunWide
from flyteray._plan.triggers.artifacts import ArtifactSpec
from flyteray._plan.values import pickling
from flyteray.errors import RunNotFoundError, RuntimeUserError
from flyteray.storage import Storage, open_storage
from tests.unit.builders import app_record, app_spec, run_spec, version_record

DAYS = 7


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(tmp_path / "stored")


@dataclass
class Kept:
    """The retention of a registry, and the runs whose outputs it has let go of."""

    registry: Registry
    storage: Storage
    gone: list[str] = field(default_factory=list)

    def of(self, days: int | None) -> Retention:
        return Retention(self.registry, self.storage, days, self._let_go)

    async def _let_go(self, runs: list[str]) -> None:
        self.gone += runs


@pytest.fixture
def kept(registry: Registry, storage: Storage) -> Kept:
    return Kept(registry, storage)


def ended(registry: Registry, storage: Storage, name: str, days: int = 2 * DAYS, **spec: Any) -> None:
    """A run that has ended some days ago, with all that is left of it."""
    at = now() - timedelta(days=days)
    request = f"request-{name}"
    registry.runs.create(run_spec(name).model_copy(update={"request": request, **spec}), at)
    registry.runs.finish(name, ActionPhase.SUCCEEDED, None, 1, at)
    event = {"run": name, "parent": "a0", "task": "env.f", "phase": ActionPhase.FAILED, "inputs": b"x"}
    registry.actions.record([ActionEvent(action="a1", at=at.timestamp(), **event)])
    for key in (f"runs/{name}/a0/outputs", f"runs/{name}/a1/logs/1/out/000000", pickling.inputs_key(request)):
        storage.put(key, b"x")


def test_what_is_old_and_not_needed_is_freed_and_nothing_is_left_of_it(
    registry: Registry, storage: Storage, kept: Kept
) -> None:
    ended(registry, storage, "old")
    ended(registry, storage, "new", days=1)
    registry.runs.create(run_spec("goes-on"), now() - timedelta(days=100))

    freed = asyncio.run(kept.of(DAYS).free())

    assert freed == kept.gone == ["old"]
    with pytest.raises(RunNotFoundError):
        registry.runs.get("old")
    assert registry.actions.get("old", "a1") is None
    assert registry.actions.inputs("old", "a1") is None
    assert [key for key in storage.list() if "old" in key] == []
    assert {run.name for run in registry.runs.listall()} == {"new", "goes-on"}
    assert len([key for key in storage.list() if "new" in key]) == 3
    assert asyncio.run(kept.of(None).free()) == []


def test_runs_that_apps_artifacts_and_other_runs_need_stay(
    registry: Registry, storage: Storage, kept: Kept
) -> None:
    for name in ("pinned", "with-a-file", "published", "recovered", "followed-once", "followed"):
        ended(registry, storage, name)
    parameters = (
        ParameterSpec(name="a", kind="object", output=OutputRef(run_name="pinned")),
        ParameterSpec(name="b", kind="file", value=storage.join("runs/with-a-file/a0/data/x")),
        ParameterSpec(name="c", kind="object", output=OutputRef(task_name="env.train", follow=True)),
    )
    registry.apps.save_version(version_record(spec=app_spec("shop", parameters=parameters)))
    registry.apps.save_app(app_record("shop"))
    artifact = ArtifactSpec(name="model", version="1", run="published")
    asyncio.run(registry.artifacts.publish([(artifact, b"")]))
    recovering = run_spec("recovering").model_copy(update={"wide": RunWide(recovers="recovered")})
    registry.runs.create(recovering, now())
    retention = kept.of(DAYS)

    assert asyncio.run(retention.free()) == ["followed-once"]
    for name, by in (
        ("pinned", "app 'shop'"),
        ("published", "artifact 'model'"),
        ("recovered", "'recovering'"),
    ):
        with pytest.raises(RuntimeUserError, match=f"'{name}' is needed by .*{by}") as refused:
            asyncio.run(retention.delete(name))
        assert refused.value.code == "RunNeededError"


def test_a_run_is_deleted_at_once_unless_it_goes_on(registry: Registry, storage: Storage, kept: Kept) -> None:
    ended(registry, storage, "done", days=0)
    registry.runs.create(run_spec("goes-on"), now())
    retention = kept.of(None)

    asyncio.run(retention.delete("done"))

    assert not storage.exists("runs/done/a0/outputs")
    with pytest.raises(RunNotFoundError):
        asyncio.run(retention.delete("done"))
    with pytest.raises(RuntimeUserError, match="'goes-on' is queued: abort it first"):
        asyncio.run(retention.delete("goes-on"))
