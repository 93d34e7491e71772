"""What is kept in the registry's database: asked of the cluster, or of what a local one will find there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flyteray._client.session import session
from flyteray._settings import Settings


async def ask(
    kind: str, store: Callable[[Settings], AbstractContextManager[Any]], verb: str, *arguments: Any
) -> Any:
    """The answer of the cluster, or of ``store`` with none named and none running.

    Args:
        kind: What it is about, as the controller's methods end: ``secret``.
        store: Opens what a local cluster of the same settings uses as well.
        verb: ``create``, ``get``, ``delete``, or ``list`` for all of them.
        arguments: What the verb takes.
    """
    if await asyncio.to_thread(session().has_cluster):
        return await session().call(f"list_{kind}s" if verb == "list" else f"{verb}_{kind}", *arguments)
    with store(session().settings) as kept:
        return getattr(kept, "listall" if verb == "list" else verb)(*arguments)
