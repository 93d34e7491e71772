"""The logs of an actor, wherever it runs, are read through Ray's dashboard."""

from __future__ import annotations

from collections.abc import Iterator

import ray
from ray.util.state import get_log
from ray.util.state.exception import RayStateApiException

from flyteray.errors import RuntimeSystemError

_MAGICS = (":actor_name:", ":job_id:", ":task_name:")  # lines that Ray writes for itself


def lines(actor: str, namespace: str, stream: str, tail: int, follow: bool) -> Iterator[str]:
    """The last lines of an actor's stream, "out" or "err", and if ``follow`` those that it writes while it lives.

    RuntimeSystemError where the dashboard does not give them, ValueError where there is no such actor any more.
    """
    handle = ray.get_actor(actor, namespace=namespace)
    cluster = ray.get_runtime_context().gcs_address  # without it Ray looks for any cluster of this machine
    rest = ""
    try:
        actor_id = handle._actor_id.hex()
        for chunk in get_log(
            address=cluster, actor_id=actor_id, follow=follow, tail=tail, suffix=stream, errors="replace"
        ):
            *whole, rest = (rest + chunk).split("\n")
            yield from (line for line in whole if not line.startswith(_MAGICS))
    except (RayStateApiException, OSError) as error:
        raise RuntimeSystemError(
            "LogsNotAvailable",
            f"The logs of {actor} can't be read: {error}. Does the cluster's dashboard run?",
        ) from error
    if rest:
        yield rest
