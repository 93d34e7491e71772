"""The registry's tables, and how times and specs are kept in them."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy import Enum as EnumColumn
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from flyteray._control.apps.state import VersionPhase
from flyteray._plan.info import ActionPhase, ErrorInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec, RunSpec, TaskPlan

SCHEMA = 2  # raised with every change that an older flyteray can't live with


class Utc(TypeDecorator[datetime]):
    """A point in time; SQLite forgets time zones, so UTC is stored and put back."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=timezone.utc)


class Json(TypeDecorator[BaseModel]):
    """A spec as JSON text, validated when it is read."""

    impl = Text
    cache_ok = True

    def __init__(self, model: type[BaseModel]) -> None:
        super().__init__()
        self.model = model

    def process_bind_param(self, value: BaseModel | None, dialect: Dialect) -> str | None:
        return None if value is None else value.model_dump_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> BaseModel | None:
        return None if value is None else self.model.model_validate_json(value)


def _words(kind: type[Enum]) -> EnumColumn:
    return EnumColumn(
        kind,
        native_enum=False,
        create_constraint=False,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


metadata = MetaData()

schema = Table(
    "flyteray_schema",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Integer, nullable=False),
)

identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one
    Column("name", String, nullable=False),
)

lease = Table(
    "lease",
    metadata,
    Column("id", Integer, primary_key=True),  # 1: there is one lease
    Column("epoch", Integer, nullable=False),  # how often it was taken
    Column("cluster", String, nullable=False),
    Column("name", String, nullable=False),
    Column("since", Double, nullable=False),  # seconds since 1970 by the database's clock, as the next
    Column("until", Double, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Integer, primary_key=True),  # in order of creation
    Column("name", String, nullable=False, unique=True),
    Column("task", String, nullable=False),
    Column("phase", _words(ActionPhase), nullable=False),
    Column("spec", Json(RunSpec), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("error", Json(ErrorInfo)),
    Column("output_bytes", BigInteger),
    Index("runs_of_task", "task", "phase", "id"),
    Index("runs_in_phase", "phase", "id"),
)

actions = Table(
    "actions",
    metadata,
    Column("run", String, primary_key=True),
    Column("action", String, primary_key=True),
    Column("parent", String),
    Column("task", String, nullable=False),
    Column("phase", _words(ActionPhase), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("error", Text),
)

tasks = Table(
    "tasks",
    metadata,
    Column("name", String, primary_key=True),
    Column("version", String, primary_key=True),
    Column("environment", String, nullable=False),
    Column("plan", Json(TaskPlan), nullable=False),
    Column("deployed_at", Utc, nullable=False),
    Index("newest_of_task", "name", "deployed_at"),
)

apps = Table(
    "apps",
    metadata,
    Column("name", String, primary_key=True),
    Column("desired", String, nullable=False),
    Column("target", String, nullable=False),
    Column("serving", String),
    Column("revision", Integer, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", String, primary_key=True),
    # No foreign key: a version is saved before the app that points to it.
    Column("app", String, nullable=False, index=True),
    Column("spec", Json(AppSpec), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("phase", _words(VersionPhase), nullable=False),
    Column("backend", Integer),
    Column("error", Json(ErrorInfo)),
    Column("created_at", Utc, nullable=False),
    Column("draining_since", Utc),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", String, primary_key=True),
    Column("version", ForeignKey("versions.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("info", Json(ReplicaInfo), nullable=False),
    Column("slot", Integer, nullable=False),
)

keys = Table(
    "keys",
    metadata,
    Column("name", String, primary_key=True),
    Column("digest", String, nullable=False, unique=True),
    Column("created_at", Utc, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),  # key, or group/key
    Column("encrypted", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
)
