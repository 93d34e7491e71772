"""The door of the ingress, which leads requests to replicas, is how others ask it."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol, cast

from flyteray._actors.questions import Stub
from flyteray._ingress.routes import IngressState

INGRESS = "ingress-v1-head"


class IngressDoor(Protocol):
    """The ingress of a node."""

    def port(self) -> Awaitable[int]:
        """The port that the apps are served on."""

    def found_at(self) -> Awaitable[str]:
        """The address at which clients find the apps."""

    def apply(self, state: IngressState) -> Awaitable[None]:
        """Bring HAProxy to a state; no request is lost.

        Raises:
            RuntimeSystemError: HAProxy can't be reached or refuses.
        """

    def need(self, timeout_s: float) -> Awaitable[bool]:
        """Whether a request has begun to wait for a replica, at the latest after ``timeout_s`` seconds."""

    def sessions(self, backends: list[int]) -> Awaitable[dict[int, int]]:
        """How many requests and open connections each backend has, those of WebSockets included."""

    def traffic(self, backends: list[int]) -> Awaitable[dict[int, tuple[int, int]]]:
        """How many requests and connections each backend has open or waiting, and has had since HAProxy started."""


def ingress() -> IngressDoor:
    """The ingress of the connected cluster."""
    return cast(IngressDoor, Stub(INGRESS))
