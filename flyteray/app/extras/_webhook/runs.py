"""Runs, by name."""

from __future__ import annotations

from typing import Any

from flyteray._plan.values.text import plain
from flyteray.remote import ActionPhase, Run


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
