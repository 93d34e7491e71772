"""The door of the ingress, which leads requests to replicas, is how others ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from flyteray._actors.questions import Stub

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from flyteray._ingress.differences import Difference
    from flyteray._ingress.routes import IngressState
    from flyteray._plan.traffic.access import Page, Place
    from flyteray._plan.traffic.figures import Figures
    from flyteray._plan.traffic.load import Open
    from flyteray._plan.traffic.shadow import Compared

INGRESS = "ingress-v2-"  # begins the names of their actors


class IngressDoor(Protocol):
    """The ingress of a node."""

    def port(self) -> Awaitable[int]:
        """The port that the apps are served on."""

    def tls_port(self) -> Awaitable[int]:
        """The port for clients that come by TLS; 0 where they come without."""

    def tls(self) -> Awaitable[str]:
        """The certificate that it shows to clients, and what is wrong with it, in words; none where it shows none."""

    def found_at(self) -> Awaitable[str]:
        """The address at which clients find the apps; one that its certificate is for, where it has a name."""

    def wish(self, authority: bytes) -> Awaitable[bytes | None]:
        """What the authority of this certificate is to sign for this node.

        None where no other node can reach it, or where it has a certificate of that authority that is good for long.
        """

    def join(self, certificate: bytes, authority: bytes) -> Awaitable[None]:
        """Take requests from ingresses with a certificate of the same authority from now on, and send them some.

        What is open goes on.
        """

    def peers_port(self) -> Awaitable[int]:
        """The port for what other ingresses send; 0 where no other node can reach it."""

    def apply(self, state: IngressState, name: str = "") -> Awaitable[None]:
        """Bring HAProxy to a state; no request is lost.

        Raises:
            RuntimeSystemError: HAProxy can't be reached or refuses.
        """

    def amend(self, difference: Difference, of: str, name: str) -> Awaitable[bool]:
        """Bring HAProxy to the state that a difference leads to from the one of this name, and give it a name.

        False where it has no state of this name.

        Raises:
            RuntimeSystemError: As above.
        """

    def silent(self) -> Awaitable[list[str]]:
        """The addresses of the nodes with replicas that have not answered this one for seconds."""

    def need(self, timeout_s: float) -> Awaitable[bool]:
        """Whether a request has begun to wait for a replica, at the latest after ``timeout_s`` seconds."""

    def sessions(self, backends: list[int]) -> Awaitable[dict[int, int]]:
        """How many requests and open connections each backend has, those of WebSockets included."""

    def traffic(self, backends: list[int]) -> Awaitable[dict[int, tuple[int, int]]]:
        """How many requests and connections each backend has open or waiting, and has had since HAProxy started."""

    def figures(self, backends: list[int]) -> Awaitable[dict[int, Figures]]:
        """How the requests of each backend went that have ended here since the ingress was started.

        A request that it passed on to another node's ingress counts here, and not there. They become fewer only when
        the actor is another one, which begins from nothing.
        """

    def compared(self, shadows: list[str]) -> Awaitable[dict[str, Compared]]:
        """What came of the requests that were to be copied for these shadows; as of :meth:`figures` otherwise."""

    def open(self, backends: list[int]) -> Awaitable[dict[int, Open]]:
        """The requests and connections of each backend that are open here, but for those that another ingress has."""

    def unseen(self) -> Awaitable[int]:
        """How many requests were too many at one time to be counted, since HAProxy was started."""

    def access(self, app: str, count: int, place: Place | None) -> Awaitable[Page | None]:
        """The last ``count`` entries of an app in the access log, or those from a place on; None: none is written."""

    def stop(self) -> Awaitable[None]:
        """End HAProxy; what is open ends with it."""


def ingress_name(address: str) -> str:
    """The name of the actor of the ingress on the node of this address."""
    return f"{INGRESS}{address}"


def ingress_at(address: str) -> IngressDoor:
    """The ingress of a node of the connected cluster."""
    return cast(IngressDoor, Stub(ingress_name(address)))
