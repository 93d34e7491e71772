"""A trigger as it is kept: which runs it starts, and when."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from pydantic import Field

from flyteray._plan.spec import RunSpec, Spec, TaskSpec
from flyteray._plan.tasks import with_env_vars
from flyteray._plan.triggers.artifacts import WatchSpec
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray._plan.values import pickling
from flyteray._plan.values.pickling import Payload

_NAMED = 36  # characters of a trigger's name in those of its runs


class TriggerSpec(Spec):
    """A trigger of a task, which are told apart by ``name``.

    ``run`` is what each of its runs is but for name and request; with ``newest`` each is of the version of the task
    that was deployed last, else of the one there. Without a ``schedule`` or a ``watch`` it is fired by hand. ``given``
    are the inputs that are kept with it, ``time_inputs`` those that are given the time of the tick, ``artifact_input``
    the one that is given the artifact, and ``partition_inputs`` are keys of its partitions by input. ``declared`` tells
    one that was deployed with its task from one that was made by itself.
    """

    name: str
    run: RunSpec
    newest: bool = False
    schedule: ScheduleSpec | None = None
    watch: WatchSpec | None = None
    description: str = ""
    given: tuple[str, ...] = ()
    time_inputs: tuple[str, ...] = ()
    artifact_input: str | None = None
    partition_inputs: dict[str, str] = Field(default_factory=dict)
    declared: bool = True

    @property
    def task(self) -> str:
        """The full name of its task."""
        return self.run.task.name

    @property
    def fires(self) -> bool:
        """Whether it fires by itself where it is active."""
        return self.schedule is not None or self.watch is not None

    @property
    def automation(self) -> str:
        """When it fires, for people."""
        return str(self.schedule or self.watch or "by hand")

    @property
    def version(self) -> str | None:
        """The version of the task; None: the newest."""
        return None if self.newest else self.run.task.version

    def of_version(self, task: TaskSpec) -> TaskSpec:
        """A version of its task as it runs it."""
        return with_env_vars(task, self.run.wide.env_vars)

    def run_of(self, name: str, request: str, at: datetime, task: TaskSpec | None = None) -> RunSpec:
        """A run of it that starts ``at`` a time, of the version ``task`` where that is another one."""
        wide = self.run.wide.model_copy(update={"start_time": at})
        changes: dict[str, Any] = {"name": name, "request": request, "wide": wide}
        if task is not None:
            changes["task"] = self.of_version(task)
        return self.run.model_copy(update=changes)

    def asked_for(self, asked: RunSpec) -> RunSpec:
        """A run of it that somebody asks for: what is said of that goes before what the trigger says."""
        wide = self.run.wide.model_copy(update=_said(self.run.wide, asked.wide))
        return self.run.model_copy(update=_said(self.run, asked) | {"wide": wide})


class TriggerInfo(Spec):
    """A trigger as the registry knows it. Times are UTC.

    Ticks after ``since`` count, and artifacts with a higher id than ``seen``. ``last_tick`` is the last tick that was
    acted on, or when such an artifact came, and ``last_run`` the run that it started, or ``error`` why it did not.
    ``next_tick`` is None for one that is not active or has no schedule.
    """

    spec: TriggerSpec
    active: bool
    created_at: datetime
    updated_at: datetime
    since: datetime
    seen: int | None = None
    last_tick: datetime | None = None
    last_run: str | None = None
    error: str | None = None
    next_tick: datetime | None = None


def run_name(trigger: TriggerSpec, cause: datetime | int) -> str:
    """The name of the run of a tick, or of an artifact's id: the same whoever asks, so that nobody starts it again."""
    words = re.sub("[^A-Za-z0-9]+", "-", trigger.name)[:_NAMED].strip("-") or "trigger"
    whose = hashlib.sha256(json.dumps([trigger.task, trigger.name]).encode()).hexdigest()[:8]
    when = f"a{cause}" if isinstance(cause, int) else f"{cause.astimezone(timezone.utc):%Y%m%dT%H%M%S}"
    return f"{words}-{when}-{whose}"


def inputs_of(given: Payload, known_now: Mapping[str, Any]) -> Payload:
    """The inputs of a run: those ``given`` with the trigger, which only the worker unpickles, and those known now."""
    return pickling.dump(_Together(given, dict(known_now))) if known_now else given


def _said(below: Spec, above: Spec) -> dict[str, Any]:
    """The fields of ``above`` that are not as they are by default; mappings with what ``below`` has."""
    said: dict[str, Any] = {}
    for name, field in type(above).model_fields.items():
        value = getattr(above, name)
        if value != field.default:
            said[name] = {**getattr(below, name), **value} if isinstance(value, dict) else value
    return said


class _Together:
    """Pickled it is two sets of inputs; unpickled it is the inputs."""

    def __init__(self, given: Payload, known_now: dict[str, Any]) -> None:
        self._parts = given, known_now

    def __reduce__(self) -> tuple[Any, ...]:
        return _together, self._parts


def _together(given: Payload, known_now: dict[str, Any]) -> dict[str, Any]:
    return {**pickling.load(given), **known_now}
