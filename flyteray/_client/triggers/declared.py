"""A trigger that is declared becomes one that is kept: checked against its task, with its inputs pickled."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from flyteray._client.runs.run import RunContext
from flyteray._declare.near import did_you_mean
from flyteray._declare.options.schedule import Cron, FixedRate
from flyteray._declare.options.trigger import (
    OnArtifact,
    Trigger,
    TriggeredArtifact,
    TriggeredPartition,
    TriggerTime,
)
from flyteray._declare.tasks.task import Task
from flyteray._plan.spec import InputSpec, TaskPlan, TaskSpec
from flyteray._plan.triggers.artifacts import WatchSpec
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray._plan.triggers.trigger import TriggerSpec
from flyteray._plan.values import inputs as values
from flyteray._plan.values import pickling

_TIME = "trigger_time"  # what Flyte's own presets and command call this input
_MOST = 2**20  # bytes of inputs: they lie in the registry


class PlannedTrigger(NamedTuple):
    """A trigger as it is to be kept: with its pickled inputs, and whether it is active."""

    spec: TriggerSpec
    inputs: bytes
    active: bool


def of_task(trigger: Trigger, task: Task[..., Any], plan: TaskPlan) -> PlannedTrigger:
    """A trigger that is deployed with its task.

    Raises:
        TypeError: An input that the task has not, or of another type than annotated.
        ValueError: A required input is missing, or the inputs are too large.
    """

    def bind(given: Mapping[str, Any]) -> dict[str, Any]:
        return values.bind(task, (), given, partial=True)

    return _planned(trigger, plan.spec, plan.inputs, bind, declared=True)


def by_name(trigger: Trigger, plan: TaskPlan, newest: bool) -> PlannedTrigger:
    """A trigger of a task that was deployed before, of its newest version at any time where ``newest`` says so.

    Errors as of :func:`of_task`; types are checked when the task runs.
    """

    def bind(given: Mapping[str, Any]) -> dict[str, Any]:
        return values.bind_deployed(plan, (), given, partial=True)

    return _planned(trigger, plan.spec, plan.inputs, bind, declared=False, newest=newest)


def _planned(
    trigger: Trigger,
    task: TaskSpec,
    inputs: Sequence[InputSpec],
    bind: Callable[[Mapping[str, Any]], dict[str, Any]],
    declared: bool,
    newest: bool = False,
) -> PlannedTrigger:
    automation = trigger.automation
    given = trigger.inputs or {}
    if isinstance(automation, (Cron, FixedRate)) and _takes_time(inputs, given):
        given = {**given, _TIME: TriggerTime}
    times = tuple(name for name, value in given.items() if value is TriggerTime)
    parts = {name: value.key for name, value in given.items() if isinstance(value, TriggeredPartition)}
    whole = next((name for name, value in given.items() if value is TriggeredArtifact), None)
    later = {*times, *parts, *([whole] if whole else [])}
    samples: dict[str, Any] = dict.fromkeys(times, datetime.now(timezone.utc))
    fixed = {name: value for name, value in given.items() if name not in later}
    try:
        bound = bind(fixed | samples)
        _check_names(trigger, inputs, {*fixed, *later})
    except (TypeError, ValueError) as error:
        raise type(error)(f"Trigger {trigger.name!r}: {error}") from error.__cause__
    fixed = {name: value for name, value in bound.items() if name not in later}
    payload = pickling.dump(fixed, "inputs")
    if payload.nbytes > _MOST:
        raise ValueError(
            f"Trigger {trigger.name!r} of {task.name!r}: its inputs are {payload.nbytes} bytes, and {_MOST} are the "
            "most that are kept with a trigger. Put what is large into a file, and give it a flyteray.io.File."
        )
    spec = TriggerSpec(
        name=trigger.name,
        run=_context(trigger).spec("", task),
        newest=newest,
        schedule=ScheduleSpec.of(automation) if isinstance(automation, (Cron, FixedRate)) else None,
        watch=_watch(automation) if isinstance(automation, OnArtifact) else None,
        description=trigger.description,
        given=tuple(fixed),
        time_inputs=times,
        artifact_input=whole,
        partition_inputs=parts,
        declared=declared,
    )
    return PlannedTrigger(spec, pickle.dumps(payload), trigger.auto_activate)


def _takes_time(inputs: Sequence[InputSpec], given: Mapping[str, Any]) -> bool:
    """Whether a task needs an input that a schedule gives the time to without being told."""
    return _TIME not in given and any(each.name == _TIME and each.default is None for each in inputs)


def _check_names(trigger: Trigger, known: Sequence[InputSpec], given: set[str]) -> None:
    """Refuse an input that the task has not (TypeError), and one that it lacks when the trigger fires (ValueError)."""
    names = [each.name for each in known]
    if unknown := sorted(given - set(names)):
        raise TypeError(f"the task has no input {unknown[0]!r}.{did_you_mean(unknown[0], names)}")
    missing = [each.name for each in known if each.default is None and each.name not in given]
    if missing and trigger.automation is not None:
        raise ValueError(f"Missing required inputs: {', '.join(missing)}.")


def _watch(automation: OnArtifact) -> WatchSpec:
    partitions = dict(automation.partitions or {})
    return WatchSpec(name=automation.name, version=automation.version, partitions=partitions)


def _context(trigger: Trigger) -> RunContext:
    """How its runs are run, in the words of ``with_runcontext``, which warns of what means nothing."""
    return RunContext(
        mode="remote",
        env_vars=trigger.env_vars,
        interruptible=trigger.interruptible,
        overwrite_cache=trigger.overwrite_cache,
        queue=trigger.queue,
        max_action_concurrency=trigger.max_action_concurrency,
        labels=dict(trigger.labels or {}),
        annotations=dict(trigger.annotations or {}),
        notifications=trigger.notifications,
        custom_context=dict(trigger.custom_context or {}),
    )
