"""Deployed tasks are run, their triggers switched, their runs looked up and answered what they wait for, by name."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, HTTPException

from flyteray._client.runs.run import run
from flyteray._plan.values.parser import FromJson
from flyteray._plan.values.text import plain
from flyteray.app.extras._webhook.access import Allowed
from flyteray.remote import ActionPhase, Condition, Run, Task, TaskDetails, Trigger


async def run_task(
    domain: str,
    project: str,
    name: str,
    allowed: Allowed,
    inputs: Annotated[dict[str, Any] | None, Body()] = None,
    version: str | None = None,
) -> dict[str, str]:
    """Start a task, with its inputs by name as JSON has them (none: no body), and answer at once."""
    allowed.check_task(domain, project, name)
    details = await _details(name, version)
    try:
        given = {name: FromJson(value) for name, value in (inputs or {}).items()}
        started = await run.aio(details, **given)
    except (TypeError, ValueError) as error:  # inputs that the task does not take
        raise HTTPException(400, str(error)) from error
    return {"url": started.url, "name": started.name}


async def get_task(
    domain: str, project: str, name: str, allowed: Allowed, version: str | None = None
) -> dict[str, Any]:
    """A task's inputs and outputs."""
    allowed.check_task(domain, project, name)
    details = await _details(name, version)
    return {
        "name": details.name,
        "version": details.version,
        "docs": details.docs,
        "inputs": details.inputs,
        "outputs": details.outputs,
        "required_args": details.required_args,
        "default_input_args": details.default_input_args,
        "secrets": details.secrets,
    }


async def get_run(name: str) -> dict[str, Any]:
    """Where a run stands."""
    info = (run := await Run.get.aio(name)).info
    return {"name": run.name, "phase": str(info.phase), "url": run.url, "done": info.phase.is_terminal}


async def get_run_io(name: str) -> dict[str, Any]:
    """A run's outputs by name; none unless it has succeeded. Inputs are not kept: always null.

    What JSON has no word for is given as its ``repr``.
    """
    run = await Run.get.aio(name)
    outputs = None
    if run.info.phase is ActionPhase.SUCCEEDED:
        named = (await run.outputs.aio()).named_outputs
        outputs = {key: plain(value) for key, value in named.items()}
    return {"name": run.name, "inputs": None, "outputs": outputs}


async def abort_run(name: str, reason: str = "Aborted via webhook API") -> dict[str, str]:
    """End a run."""
    await (await Run.get.aio(name)).abort.aio(reason)
    return {"name": name, "status": "abort_requested", "reason": reason}


async def signal_condition(
    run: str, action: str, payload: Annotated[Any, Body(embed=True)]
) -> dict[str, Any]:
    """Answer a condition of a run, by its action or name, with the ``payload``."""
    condition = await Condition.get.aio(action, run)
    if condition is None:
        raise HTTPException(404, f"Run {run!r} has no condition {action!r}.")
    try:
        await condition.signal.aio(payload)
    except TypeError as error:
        raise HTTPException(400, str(error)) from error
    return {
        "run": run,
        "action": condition.action_name,
        "name": condition.name,
        "state": condition.info.state,
    }


async def activate_trigger(task: str, trigger: str, allowed: Allowed) -> dict[str, Any]:
    """Have a trigger start runs from now on."""
    return await _switch(task, trigger, allowed, active=True)


async def deactivate_trigger(task: str, trigger: str, allowed: Allowed) -> dict[str, Any]:
    """Have a trigger start no more runs; what passes meanwhile is not caught up."""
    return await _switch(task, trigger, allowed, active=False)


async def _details(name: str, version: str | None) -> TaskDetails:
    handle = Task.get(name, version=version, auto_version=None if version else "latest")
    return await handle.fetch.aio()


async def _switch(task: str, name: str, allowed: Allowed, active: bool) -> dict[str, Any]:
    allowed.check_trigger(task, name)
    trigger = await Trigger.get.aio(name=name, task_name=task)
    await (trigger.activate if active else trigger.deactivate).aio()
    return {"task": task, "name": name, "is_active": trigger.is_active, "next_time": trigger.next_time}
