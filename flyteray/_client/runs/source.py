"""The source of a rerun is an earlier run: its task, its inputs, and what it has done already."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from flyteray._client.history import recorded
from flyteray._client.session.session import session
from flyteray._plan.actions.names import ROOT
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import RunSpec, TaskSpec
from flyteray._plan.tasks import with_env_vars
from flyteray._plan.triggers.trigger import inputs_of
from flyteray._plan.values import pickling
from flyteray._plan.values.kept_outputs import KeptOutputs
from flyteray._plan.values.outputs import run_folder
from flyteray._plan.values.pickling import Payload, input_key, task_key
from flyteray.errors import BaseRuntimeError, OutputNotFoundError
from flyteray.storage import Storage, open_storage

_LOOKED_AT = 200  # of the actions of a run, for their outputs


def check(action: str, recover: bool, again: Collection[str], local: bool) -> None:
    """Raise for a rerun that can't be.

    Raises:
        ValueError: recovery of one action, or actions to run again without recovery.
        NotImplementedError: in local mode.
    """
    if again and not recover:
        raise ValueError("rerun: force_rerun_actions needs recover=True; without it all actions run again.")
    if action != ROOT and recover:
        raise ValueError(f"rerun: a run is recovered as a whole, not from action {action!r} on.")
    if local:
        raise NotImplementedError('rerun: a local run is not kept to be run again. Say mode="remote".')


async def task(source: RunSpec, action: str) -> TaskSpec:
    """The task of an action of a run, which finds the run's environment variables.

    Raises:
        ValueError: the run has no such action that has begun, or it is one that has no task: a trace.
    """
    if action == ROOT:
        return source.task
    name = (await recorded.find_action(source.name, action)).task
    place = await asyncio.to_thread(recorded.storage)
    try:
        kept = await asyncio.to_thread(place.get, task_key(source.name, name))
    except FileNotFoundError:
        raise ValueError(
            f"Action {action!r} of run {source.name!r} can't be run again: {name!r} is no task, but a function that "
            "is traced, or its task was not recorded by an older flyteray."
        ) from None
    return with_env_vars(TaskSpec.model_validate_json(kept), source.wide.env_vars)


async def inputs(source: RunSpec, action: str, changed: Mapping[str, Any]) -> Payload:
    """The inputs of an action of a run, some of them changed.

    Raises:
        ValueError: the task has no such inputs.
        OutputNotFoundError: the inputs are no longer there.
    """
    given = await _given(source, action)
    if not changed:
        return given
    try:
        known = await asyncio.to_thread(pickling.load, given)
    except BaseRuntimeError:
        known = dict(changed)  # of classes that this process does not have: the worker finds out
    if unknown := sorted(set(changed) - set(known)):
        raise ValueError(
            f"{_words(source, action)} has no {'inputs' if len(unknown) > 1 else 'input'} "
            f"{', '.join(map(repr, unknown))}: it has {', '.join(map(repr, known)) or 'none'}."
        )
    return inputs_of(given, changed)


async def _given(source: RunSpec, action: str) -> Payload:
    root = (await asyncio.to_thread(session().connect)).storage
    key = source.inputs or pickling.inputs_key(source.request)
    if action != ROOT:
        small = await session().controller.runs.inputs(source.name, action)
        if small is not None:
            return Payload(small, [])
        key = input_key(source.name, action)
    if not await asyncio.to_thread(open_storage(root).exists, key):
        raise OutputNotFoundError(
            f"{_words(source, action)} can't be run again, as its inputs are not kept: run its task with inputs."
        )
    return pickling.stored(root, key)


def _words(source: RunSpec, action: str) -> str:
    return f"Run {source.name!r}" if action == ROOT else f"Action {action!r} of run {source.name!r}"


async def check_recoverable(source: str, again: Collection[str], may_lack: bool) -> None:
    """Raise where what a run has done is not there to be used again; ``again`` are actions that are to run anyway.

    Raises:
        ValueError: the run has no such actions.
        OutputNotFoundError: outputs of it are no longer kept, and none ``may_lack``.
    """
    actions = await session().controller.runs.actions(source)
    if unknown := sorted(set(again) - {each.action for each in actions}):
        raise ValueError(f"Run {source!r} has no actions {', '.join(map(repr, unknown))}.")
    if may_lack:
        return
    done = [
        each.action
        for each in actions
        if each.parent is not None and each.phase is ActionPhase.SUCCEEDED and each.action not in again
    ]
    root = (await asyncio.to_thread(session().connect)).storage
    missing = await asyncio.to_thread(_missing, open_storage(root), source, done[:_LOOKED_AT])
    if missing:
        raise OutputNotFoundError(
            f"Outputs of run {source!r} are no longer kept, of {len(missing)} of its actions at least (such as "
            f"{missing[0]}). Say allow_missing_source_outputs=True to run those again."
        )


def _missing(storage: Storage, run: str, actions: Collection[str]) -> list[str]:
    kept, folder = KeptOutputs(storage.url, run), run_folder(storage.url, run)
    return [each for each in actions if not kept.have(each) and not folder.exists(f"{each}/trace")]
