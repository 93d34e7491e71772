"""One machine's ingress and replica without Ray, told what to do by lines of Python on stdin: ``say`` is the answer.

``sample_peer.py ADDRESS AUTHORITY`` has the files of the authority's certificate and key in a folder.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

import grpc
import uvicorn

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import OVER_HTTP2, IngressState, Slot
from flyteray._ingress.tls.certificates import Authority
from tests.integration import grpc_talk
from tests.integration.sample_nodes import api
from tests.waiting import eventually

PORT, REPLICA, GRPC_REPLICA = 8800, 9000, 9001


@api.api_route("/end", methods=["GET", "POST"])
def end() -> str:
    """The second machine loses its replica and its activator with a request; its HAProxy is the last to go."""
    if socket.gethostname() == "two":
        os._exit(1)
    return socket.gethostname()


class Peer:
    def __init__(self, address: str, authority: Path) -> None:
        # like that of a node it outlives this process: it ends with the first of its machine
        self.ingress = Ingress("/tmp/ingress", "0.0.0.0", PORT, watched=1, address=address, access_log=True)
        self.authority = Authority((authority / "ca.pem").read_bytes(), (authority / "ca.key").read_bytes())
        self.join()

    def join(self) -> None:
        """Have a new certificate signed, and use it."""
        wish = self.ingress.wish(b"" if self.ingress.peers_port() else self.authority.certificate)
        assert wish is not None
        self.ingress.join(self.authority.sign(wish), self.authority.certificate)

    def apply(
        self,
        replicas: list[str],
        peers: dict[str, int],
        sticky: bool = False,
        timeout_ms: int = 60_000,
        over_http2: bool = False,
    ) -> None:
        slots = {number: Slot(host, REPLICA) for number, host in enumerate(replicas, 1)}
        if over_http2:
            slots = {OVER_HTTP2 + number: Slot(slot.host, GRPC_REPLICA) for number, slot in slots.items()}
        state = IngressState(
            {"hello": 0},
            {0: slots},
            sticky=frozenset({"hello"} if sticky else ()),
            timeouts={"hello": timeout_ms},
            owners={0: "hello"},
            http2=frozenset({0} if over_http2 else ()),
            peers=peers,
            waits={"hello": 60_000},
            names={f"b0/s{number}": f"on {host}" for number, host in enumerate(replicas, 1)},
        )
        self.ingress.apply(state)


def serve() -> grpc.Server:
    """Start both replicas; that of gRPC ends with what is returned."""
    server = uvicorn.Server(uvicorn.Config(api, host="127.0.0.1", port=REPLICA, log_config=None))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    threading.Thread(target=server.run, daemon=True).start()
    return grpc_talk.serve(grpc_talk.Talk(socket.gethostname()), f"127.0.0.1:{GRPC_REPLICA}")[0]


def main() -> None:
    peer = Peer(sys.argv[1], Path(sys.argv[2]))
    server = serve()
    print(peer.ingress.peers_port(), flush=True)
    for line in sys.stdin:
        exec(line, {"peer": peer, "eventually": eventually})
        print("done", flush=True)
    server.stop(None)


if __name__ == "__main__":
    main()
