"""A connector of Flyte is declared as there, and not served on Ray."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from flyteray.app.environment import AppEnvironment
from flyteray.app.port import PortField

if TYPE_CHECKING:
    from flyteray._declare.facts import SerializationContext

_METRICS_PORT = "9092"  # of Flyte's connectors


@dataclass(eq=False, repr=False)
class ConnectorEnvironment(AppEnvironment):
    """A service that Flyte's backend hands tasks of other systems to, over gRPC.

    It can be declared, so that files which have one load. Ray runs tasks itself, so serving it is refused: call the
    other system from a task.

    Args:
        include: The connectors' modules, as files.
    """

    type: str | None = "connector"
    port: PortField = PortField(8080, "h2c")  # noqa: RUF009 # a descriptor, not a value

    def container_args(self, serialize_context: SerializationContext) -> list[str]:
        """The words of the connectors' own program, unless ``args`` gives others."""
        if self.args is not None:
            return super().container_args(serialize_context)
        words = ["c0", "--port", str(self.port.port), "--prometheus_port", _METRICS_PORT]
        modules = [path.replace("/", ".").removesuffix(".py") for path in self.include]
        return [*words, "--modules", *modules] if modules else words

    @property
    def kind(self) -> NoReturn:
        """None: it is not served.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{self._words()} can't be served: connectors take tasks from Flyte's own backend, and Ray runs tasks "
            "itself. Call the other system from a task."
        )
