"""The identity of an ingress: the key and the certificate in its directory by which others of its cluster know it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from flyteray import _private
from flyteray._ingress.haproxy import maps
from flyteray._ingress.tls import certificates

_KEY_FILE = "peer.key"


class Identity:
    """What proves that an ingress is of its cluster; none where no other node can reach ``address``.

    Attributes:
        peers: The address at which other nodes reach it; None where none can.
    """

    def __init__(self, directory: Path, address: str) -> None:
        self._key = directory / _KEY_FILE
        self._certificate = directory / maps.PEER_FILE
        self._authority = directory / maps.CA_FILE
        self.peers = None if ipaddress.ip_address(address).is_loopback else address

    def is_known(self) -> bool:
        """Whether others know it by a certificate."""
        return self.peers is not None and self._certificate.exists()

    def wish(self, authority: bytes) -> bytes | None:
        """What the authority of this certificate is to sign; None where nothing is needed. The key is made once."""
        if self.peers is None:
            return None
        stays = self.is_known() and self._authority.read_bytes() == authority
        if stays and certificates.is_fresh(self._certificate.read_bytes()):
            return None
        if not self._key.exists():
            _private.replace(self._key, certificates.new_key())
        return certificates.request(self._key.read_bytes())

    def keep(self, certificate: bytes, authority: bytes) -> None:
        """Be known by this certificate from now on, and know those of the same authority."""
        _private.replace(self._authority, authority)
        _private.replace(self._certificate, certificate + self._key.read_bytes())
