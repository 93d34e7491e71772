"""The results that the cache keeps: one may end a run that is asked for; people look at them and clear them away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from flyteray._client.runs.handle import Run
from flyteray._client.runs.traced import tell_of_reuse
from flyteray._client.session.session import session
from flyteray._declare.tasks.task import Task
from flyteray._plan.cache.call import cache_spec, cached_call, contents
from flyteray._plan.cache.results import ResultCache
from flyteray._plan.spec import CachedCall, Caching, RunSpec
from flyteray._plan.values import pickling
from flyteray.storage import open_storage


def kept_results() -> ResultCache:
    """The results in the storage of the cluster, or without one in that which local mode uses."""
    return ResultCache(open_storage(session().storage()))


def kept_results_of_local_mode() -> ResultCache:
    """The results in the storage that local mode uses; a local cluster has the same, unless told otherwise."""
    return ResultCache(open_storage(session().settings.storage))


def cached(
    task: Task[..., Any],
    arguments: Mapping[str, Any],
    caching: Caching,
    owner: tuple[str | None, str | None, str | None],
) -> CachedCall | None:
    """The call that a run is of its task, by which its results are kept; None where they are not."""
    cache = cache_spec(task)
    named = contents(task, arguments, cache, caching)
    if cache is None or named is None:
        return None
    return cached_call(task, named, cache, caching, owner)


async def reuse(spec: RunSpec, inputs: pickling.Payload) -> Run | None:
    """A run that a result has ended which was kept; None where there is none. Large inputs are not kept again."""
    if spec.cached is None or not spec.cached.read:
        return None
    root = (await asyncio.to_thread(session().connect)).storage
    entry = await asyncio.to_thread(ResultCache(open_storage(root)).look, spec.cached)
    if entry is None:
        return None
    few = inputs if inputs.nbytes <= pickling.RELAYED else None
    info = await session().controller.runs.reuse(spec, entry, few)
    if info is None:
        return None
    tell_of_reuse(spec, entry.run)
    return Run(info)
