"""What Serve makes of a replica's process, where the Serve is flyteray's own."""

from __future__ import annotations

from typing import Any

from ray.serve._private import replica

from flyteray._actors.calls import SERVE_NAMESPACE


class ReplicaActor(replica.ReplicaActor):  # type: ignore[misc]  # Ray has no types for it
    """Serve's actor, which finds its controller in flyteray's namespace.

    What user code in it asks of Serve (``serve.get_app_handle``) it asks of the one that everybody uses.
    """

    async def __init__(self, *arguments: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        replica.SERVE_NAMESPACE = SERVE_NAMESPACE
        await super().__init__(*arguments)
