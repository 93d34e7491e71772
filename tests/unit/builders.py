"""Builders of what is planned and recorded: each makes the simplest of its kind, and takes what a test is about."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from flyteray._control.apps.state import AppRecord, ReplicaRecord, VersionPhase, VersionRecord
from flyteray._plan.info import ReplicaInfo
from flyteray._plan.spec import AppSpec, CodeRef, EnvironmentSpec, RunSpec, TaskSpec

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
CODE = CodeRef(bundle="b", module="m", name="n")


def app_spec(name: str = "a", **fields: Any) -> AppSpec:
    return AppSpec(**{"name": name, "kind": "asgi", "code": CODE, "environment": EnvironmentSpec(), **fields})


def task_spec(name: str = "env.train", **fields: Any) -> TaskSpec:
    return TaskSpec(**{"name": name, "code": CODE, "environment": EnvironmentSpec(), **fields})


def run_spec(name: str, task: str = "env.train", **fields: Any) -> RunSpec:
    return RunSpec(name=name, task=task_spec(task, **fields))


def app_record(name: str = "a", target: str = "v1", serving: str | None = None, **fields: Any) -> AppRecord:
    simplest = {"desired": "active", "revision": 1, "created_at": NOON, "updated_at": NOON}
    return AppRecord(**{"name": name, "target": target, "serving": serving, **simplest, **fields})


def version_record(
    name: str = "v1",
    phase: VersionPhase = VersionPhase.READY,
    spec: AppSpec | None = None,
    backend: int | None = 0,
    **fields: Any,
) -> VersionRecord:
    spec = spec or app_spec()
    simplest = {"revision": 1, "error": None, "created_at": NOON, "draining_since": None}
    told = {"id": name, "app": spec.name, "spec": spec, "phase": phase, "backend": backend}
    return VersionRecord(**{**told, **simplest, **fields})


def replica_record(of: str = "v1", number: int = 1, **fields: Any) -> ReplicaRecord:
    return ReplicaRecord(replica_info(of, number, **fields), slot=number)


def replica_info(of: str = "v1", number: int = 1, **fields: Any) -> ReplicaInfo:
    told = {"replica_id": f"{of}-{number}", "version": of, "port": 4000 + number}
    return ReplicaInfo(**{"actor_name": "x", "host": "127.0.0.1", "pid": 1, **told, **fields})
