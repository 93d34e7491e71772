"""Keeping a laptop's replicas off the network."""

from __future__ import annotations

import ipaddress

from ray.serve._private import replica


def confine(host: str) -> None:
    """On a node whose address is loopback, have Serve's own port of this replica listen there alone.

    Serve opens one for calls between deployments, on all interfaces and with no setting for it, after the user's
    constructor has returned; flyteray's apps never use it.
    """
    if not ipaddress.ip_address(host).is_loopback:
        return
    add = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add(server, address.replace("[::]", host))
