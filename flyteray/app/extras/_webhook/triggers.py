"""Triggers are switched on and off by the names of their tasks and their own."""

from __future__ import annotations

from typing import Any

from flyteray.app.extras._webhook.access import Allowed
from flyteray.remote import Trigger


async def activate_trigger(task: str, trigger: str, allowed: Allowed) -> dict[str, Any]:
    """Have a trigger start runs from now on."""
    return await _switch(task, trigger, allowed, active=True)


async def deactivate_trigger(task: str, trigger: str, allowed: Allowed) -> dict[str, Any]:
    """Have a trigger start no more runs; what passes meanwhile is not caught up."""
    return await _switch(task, trigger, allowed, active=False)


async def _switch(task: str, name: str, allowed: Allowed, active: bool) -> dict[str, Any]:
    allowed.check_trigger(task, name)
    trigger = await Trigger.get.aio(name=name, task_name=task)
    await (trigger.activate if active else trigger.deactivate).aio()
    return {"task": task, "name": name, "is_active": trigger.is_active, "next_time": trigger.next_time}
