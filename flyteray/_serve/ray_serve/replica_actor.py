"""The actor that Serve makes for a replica of flyteray's Serve, or for one of a part of a composition."""

from __future__ import annotations

from typing import Any

from ray import cloudpickle
from ray.serve._private import replica

from flyteray._actors.calls import SERVE_NAMESPACE
from flyteray._serve.ray_serve.replica_process import use_own_serve
from flyteray._serve.servers.patches import patch

_PART = "flyteray._serve.compositions.part"  # the module of the stand-ins


class ReplicaActor(replica.ReplicaActor):  # type: ignore[misc]  # Ray has no types for it
    """Serve's actor, which finds its controller in flyteray's namespace; user code in it reaches the common Serve."""

    _part: Any = None

    async def __init__(  # type: ignore[misc]  # Ray awaits it
        self, replica_id: Any, definition: bytes, positional: bytes, named: bytes, *rest: Any
    ) -> None:
        replica.SERVE_NAMESPACE = SERVE_NAMESPACE
        code: dict[str, Any] = {}
        if getattr(cloudpickle.loads(definition), "__module__", None) == _PART:
            # deferred: only compositions have parts
            from flyteray._serve.compositions.part import PartProcess

            use_own_serve()
            self._part = PartProcess(*cloudpickle.loads(positional))
            code = await self._part.load()
        make = replica.create_replica_impl
        with patch(replica, "create_replica_impl", lambda **told: make(**told | code)):
            await super().__init__(replica_id, definition, positional, named, *rest)

    async def initialize_and_get_metadata(self, *arguments: Any, **options: Any) -> Any:
        try:
            made = await super().initialize_and_get_metadata(*arguments, **options)
        except Exception as error:
            if self._part is not None:
                await self._part.failed(error.__context__ or error)  # Serve puts its text in its place
            raise
        if self._part is not None:
            await self._part.came_up()
        return made

    async def perform_graceful_shutdown(self) -> None:
        await super().perform_graceful_shutdown()
        if self._part is not None:
            self._part.end()
