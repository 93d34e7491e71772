"""The registry's tables, and how times and specs are kept in them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from enum import Enum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Boolean,
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
    UniqueConstraint,
)
from sqlalchemy import Enum as EnumColumn
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from flyteray._control.apps.state import VersionPhase
from flyteray._plan.actions.conditions import ConditionInfo
from flyteray._plan.info import ActionPhase, ErrorInfo, ReplicaInfo
from flyteray._plan.spec import AppSpec, RunSpec, TaskPlan
from flyteray._plan.traffic.canary import CanaryRecord
from flyteray._plan.traffic.shadow import ShadowRecord
from flyteray._plan.triggers.artifacts import ArtifactSpec
from flyteray._plan.triggers.partitions import PartitionSchema
from flyteray._plan.triggers.trigger import TriggerSpec

T = TypeVar("T")

SCHEMA = 3  # raised with every change that an older flyteray can't live with


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


class ByName(TypeDecorator[dict[str, T]], Generic[T]):
    """Texts or numbers by name as JSON; none is null."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: dict[str, T] | None, dialect: Dialect) -> str | None:
        return json.dumps(value) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> dict[str, T]:
        known: dict[str, T] = json.loads(value) if value else {}
        return known


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
    Column("labels", ByName[str]()),
    Column("version", String),  # of the task
    Column("cached", String),
    Index("runs_of_task", "task", "phase", "id"),
    Index("runs_in_phase", "phase", "id"),
)

notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", ForeignKey("runs.name", ondelete="CASCADE"), nullable=False, index=True),
    Column("number", Integer, nullable=False),  # among the notifications of the run
    Column("tries", Integer, nullable=False),
    Column("due_at", Utc, index=True),  # None: nothing more is tried
    Column("sent_at", Utc),
    Column("error", Text),
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
    Column("group", String),
    Column("cached", String),
    Column("created_at", Utc),
    Column("links", ByName[str]()),
)

inputs = Table(  # of actions, where they are small; those of runs and large ones are in storage
    "inputs",
    metadata,
    Column("run", String, primary_key=True),
    Column("action", String, primary_key=True),
    Column("pickled", LargeBinary, nullable=False),
)

conditions = Table(
    "conditions",
    metadata,
    Column("run", String, primary_key=True),
    Column("action", String, primary_key=True),
    Column("waiting", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("info", Json(ConditionInfo), nullable=False),
    Index("conditions_that_wait", "waiting", "created_at"),
)

attempts = Table(  # those that were not the one and only, or did not succeed: the action tells of the others
    "attempts",
    metadata,
    Column("run", String, primary_key=True),
    Column("action", String, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("phase", _words(ActionPhase), nullable=False),
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

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", Integer, primary_key=True),  # in the order in which they came
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("spec", Json(ArtifactSpec), nullable=False),
    Column("value", LargeBinary, nullable=False),  # pickled
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("name", "version"),
    sqlite_autoincrement=True,  # the id of one that was deleted is given to no other
)

artifact_schemas = Table(
    "artifact_schemas",
    metadata,
    Column("name", String, primary_key=True),
    Column("schema", Json(PartitionSchema), nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    Column("task", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("spec", Json(TriggerSpec), nullable=False),
    Column("inputs", LargeBinary, nullable=False),  # pickled
    Column("active", Boolean, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
    Column("since", Utc, nullable=False),
    Column("seen", Integer),  # the last artifact that was acted on
    Column("last_tick", Utc),
    Column("last_run", String),
    Column("error", Text),
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
    Column("shares", ByName[int]()),
    Column("routed", ByName[int]()),
    Column("sticks", String),
    Column("previous", String),
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
    Column("canary", Json(CanaryRecord)),
    Column("shadow", Json(ShadowRecord)),
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
    Column("role", String),  # None: invoke
    Column("expires_at", Utc),
    Column("apps", Text),  # with spaces between; None: all
    Column("by", String),
    Column("priority", String),  # None: normal
)

key_changes = Table(
    "key_changes",
    metadata,
    Column("id", Integer, primary_key=True),  # in the order in which they came
    Column("name", String, nullable=False),
    Column("action", String, nullable=False),
    Column("at", Utc, nullable=False),
    Column("by", String),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", String, primary_key=True),  # key, or group/key
    Column("encrypted", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("updated_at", Utc, nullable=False),
)
