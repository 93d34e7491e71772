"""What an action has taken in, given, written and run is recorded, and read by name."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

from flyteray._client.session.session import session
from flyteray._declare.facts import CodeBundle
from flyteray._declare.near import did_you_mean
from flyteray._plan.actions.names import ROOT
from flyteray._plan.actions.traces import trace_outputs
from flyteray._plan.bundle.bundle import bundle_key
from flyteray._plan.info import BEFORE_IT_BEGINS, ActionInfo
from flyteray._plan.spec import RunSpec
from flyteray._plan.values import pickling
from flyteray._plan.values.kept_outputs import KeptOutputs
from flyteray._plan.values.outputs import ActionInputs, ActionOutputs
from flyteray._plan.values.pickling import LARGEST, input_key
from flyteray.errors import CodeBundleError, OutputNotFoundError, RuntimeUserError
from flyteray.storage import Storage, open_storage
from flyteray.storage.values import read_value


def storage() -> Storage:
    """The storage of the cluster; connects first."""
    return open_storage(session().connect().storage)


async def find_action(run: str, action: str) -> ActionInfo:
    """An action of a run as it is now.

    Raises:
        ValueError: the run has no such action that has begun.
    """
    runs = session().controller.runs
    found = await runs.action(run, action)
    if found is not None:
        return found
    if action == ROOT:  # a process that dies at once has not told of its action
        info = await runs.get(run)
        return ActionInfo(
            run=run,
            action=ROOT,
            parent=None,
            task=info.task,
            phase=info.phase,
            attempts=1,
            started_at=info.started_at,
            ended_at=info.ended_at,
            error=info.error.summary if info.error else None,
            waiting=info.waiting,
            created_at=info.created_at,
        )
    known = {ROOT, *(each.action for each in await runs.actions(run))}
    hint = did_you_mean(action, known) or f" `flyteray get action {run}` shows those that it has."
    raise ValueError(f"Run {run!r} has no action {action!r} that has begun.{hint}")


async def inputs_of(run: str, action: str) -> ActionInputs:
    """The inputs of an action.

    Raises:
        ValueError: the run has no such action that has begun.
        RuntimeUserError: they are not kept; its code is ``InputsNotKept``.
        ModuleLoadError: a class in them can't be imported here.
    """
    runs = session().controller.runs
    place = await asyncio.to_thread(storage)
    if action == ROOT:
        spec = await runs.spec(run)
        key = spec.inputs or pickling.inputs_key(spec.request)
    else:
        info = await find_action(run, action)
        small = await runs.inputs(run, action)
        if small is not None:
            return ActionInputs(await asyncio.to_thread(pickling.load, pickling.Payload(small, [])))
        key = input_key(run, action)
        if info.phase in BEFORE_IT_BEGINS:
            raise _not_kept(run, action, "it has not begun")
    try:
        return ActionInputs(await asyncio.to_thread(read_value, place, key))
    except FileNotFoundError:
        why = f"they have more than {LARGEST >> 20} MiB, or are those of a trace"
        raise _not_kept(run, action, "they were deleted" if action == ROOT else why) from None


async def outputs_of(run: str, action: str) -> ActionOutputs:
    """The outputs of an action that has succeeded.

    Raises:
        OutputNotFoundError: they can't be read here.
    """

    def work() -> tuple[Any, ...]:
        place = storage()
        try:
            return KeptOutputs(place.url, run).read(action)
        except FileNotFoundError:
            return trace_outputs(place, run, action)

    try:
        return ActionOutputs(await asyncio.to_thread(work))
    except FileNotFoundError as error:
        raise OutputNotFoundError(
            f"The outputs of action {action!r} of run {run!r} can't be read here: {error}"
        ) from error


def code_of(spec: RunSpec) -> CodeBundle | None:
    """The code that was shipped for a run; None where none was."""
    code = spec.task.code
    if not code.bundle:
        return None
    place = f"{storage().url}/{bundle_key(code.bundle)}"
    by_value = not code.module
    return CodeBundle(code.bundle, tgz=None if by_value else place, pkl=place if by_value else None)


def download_code(spec: RunSpec, dest: str | Path | None, extract: bool) -> Path:
    """Put the code of a run into a folder; returns that, or the archive in it.

    Raises:
        CodeBundleError: none was shipped.
    """
    bundle = spec.task.code.bundle
    if not bundle:
        raise CodeBundleError(f"No code was shipped for run {spec.name!r}: the cluster had it already.")
    folder = Path(dest or f"{spec.name}-code")
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{bundle}.zip"
    storage().get_file(bundle_key(bundle), archive)
    if not extract:
        return archive
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    archive.unlink()
    return folder


def _not_kept(run: str, action: str, why: str) -> RuntimeUserError:
    return RuntimeUserError(
        "InputsNotKept", f"The inputs of action {action!r} of run {run!r} are not kept: {why}."
    )
