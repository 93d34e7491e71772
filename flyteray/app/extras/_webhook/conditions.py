"""Conditions that runs wait for are answered."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body, HTTPException

from flyteray.remote import Condition


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
