"""Certificates as users have them: of an authority that clients of the tests know."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOSTS = ("localhost", "*.localhost", "127.0.0.1")
NOW = datetime.now(timezone.utc)


@dataclass(frozen=True)
class Issued:
    """A certificate with its key, both as PEM."""

    certificate: bytes
    key: bytes

    def put(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        """The paths of both in a folder."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_bytes(self.certificate)
        key.touch(0o600)
        key.write_bytes(self.key)
        return certificate, key


class Issuer:
    """An authority with a name."""

    def __init__(self, name: str = "authority of the tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = (
            self._valid(NOW - timedelta(days=900), NOW + timedelta(days=900))
            .subject_name(self._name)
            .public_key(self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        *hosts: str,
        name: str = "server",
        begins: datetime = NOW - timedelta(days=1),
        ends: datetime = NOW + timedelta(days=30),
    ) -> Issued:
        """A certificate for these hosts, which may be addresses; its subject has a name."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [_name(host) for host in hosts or HOSTS]
        made = (
            self._valid(begins, ends)
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Issued(made.public_bytes(serialization.Encoding.PEM), private)

    def _valid(self, begins: datetime, ends: datetime) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(self._name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
        )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
