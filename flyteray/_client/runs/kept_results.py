"""The results that the cache keeps, for those who look at them and clear them away."""

from __future__ import annotations

from flyteray._client.session.session import session
from flyteray._plan.cache.results import ResultCache
from flyteray.storage import open_storage


def kept_results() -> ResultCache:
    """The results in the storage of the cluster, or without one in that which local mode uses."""
    return ResultCache(open_storage(session().storage()))


def kept_results_of_local_mode() -> ResultCache:
    """The results in the storage that local mode uses; a local cluster has the same, unless told otherwise."""
    return ResultCache(open_storage(session().settings.storage))
