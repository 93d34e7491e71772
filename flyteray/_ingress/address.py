"""At which address others find what listens on one."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

# Kept for documentation, so that they are on the way out of every network; nothing is sent there.
_FAR = {socket.AF_INET: "198.51.100.1", socket.AF_INET6: "2001:db8::1"}


def found_at(host: str) -> str:
    """The address to give to clients of what listens on ``host``: ``0.0.0.0`` and ``::`` stand for all, so it is that
    from which this machine reaches others, or of the machine itself where it reaches none.
    """
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    # What listens on :: takes IPv4 as well.
    families = [socket.AF_INET] if address.version == 4 else [socket.AF_INET6, socket.AF_INET]
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR[family], 9))
            return str(probe.getsockname()[0])
    return "127.0.0.1"
