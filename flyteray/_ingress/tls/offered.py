"""The certificate that an ingress shows to clients comes from files of the user's, which are looked at before it is.

HAProxy would say of most mistakes that it can't load a file, and of some nothing: a certificate of the past it shows.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

from flyteray._settings import Tls
from flyteray.errors import ClusterError

_KEY = re.compile(rb"-----BEGIN ([A-Z]+ )?PRIVATE KEY-----.*?-----END ([A-Z]+ )?PRIVATE KEY-----", re.DOTALL)
_CERTIFICATE = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True)
class Offered:
    """A certificate that fits its key and is good at the moment.

    Attributes:
        chain: The certificate with those behind it and its key, as HAProxy reads it.
        clients: The authorities of clients, as HAProxy reads them; empty where all may come.
        hosts: The names and addresses that it is for; ``*.example.com`` stands for one more word in front.
        ends: When its time is over.
    """

    chain: bytes
    clients: bytes
    hosts: tuple[str, ...]
    ends: datetime

    @classmethod
    def read(cls, tls: Tls, now: datetime) -> Offered:
        """What the files hold.

        Raises:
            ValueError: no certificate or key is in them, they do not fit, or the time of the certificate is over or has
                not come; the message names the file.
            OSError: a file can't be read; as above.
        """
        first, *behind = _certificates(tls.certificate)
        found = _KEY.search(_content(tls.key))
        if not found:
            raise ValueError(f"{tls.key} holds no private key in PEM ('-----BEGIN PRIVATE KEY-----').")
        public = _spelled(_private(found[0], tls.key).public_key())
        if _spelled(first.public_key()) != public:
            turned = any(_spelled(each.public_key()) == public for each in behind)
            advice = (
                "its own certificate is further below: put it first, and those of its authorities behind it"
                if turned
                else "give the key that the certificate was made with"
            )
            raise ValueError(
                f"The key in {tls.key} is not that of the certificate in {tls.certificate}: {advice}."
            )
        _check_time(first, tls.certificate, now)
        authorities = _certificates(tls.clients) if tls.clients else []
        return cls(
            chain=b"".join(_pem(each) for each in (first, *behind)) + found[0] + b"\n",
            clients=b"".join(map(_pem, authorities)),
            hosts=_hosts(first),
            ends=first.not_valid_after_utc,
        )

    @classmethod
    def made_sure(cls, tls: Tls) -> Offered:
        """What the files hold at the moment; ClusterError, which says what to do, where that can't be shown."""
        try:
            return cls.read(tls, datetime.now(timezone.utc))
        except (OSError, ValueError) as error:
            raise ClusterError(f"The ingress can't offer TLS. {error}") from None

    def is_for(self, host: str) -> bool:
        """Whether clients that ask for this name or address take it for the right one."""
        _, _, parent = host.partition(".")
        return host in self.hosts or f"*.{parent}" in self.hosts

    def host(self, address: str) -> str:
        """The host to give to clients of an ingress at this address: one that the certificate is for, if it has one."""
        named = [each for each in self.hosts if not each.startswith("*")]
        return address if self.is_for(address) or not named else named[0]

    @property
    def digest(self) -> str:
        """What no other one has."""
        return hashlib.sha256(self.chain + self.clients).hexdigest()


def _certificates(path: Path) -> list[x509.Certificate]:
    content = _content(path)
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError as error:
        if _CERTIFICATE.encode() in content:
            raise ValueError(f"A certificate in {path} can't be read: {error}.") from None
        raise ValueError(f"{path} holds no certificate in PEM ('{_CERTIFICATE}').") from None


def _content(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():  # who opens a pipe may wait for ever
            raise ValueError(
                f"{path} is no file: it is a folder, a pipe or the like. Put what it holds into a file."
            )
        return path.read_bytes()
    except PermissionError:
        raise PermissionError(
            f"{path} may not be read by user '{_user()}', who runs the ingress: let that user read it, and "
            "nobody else."
        ) from None
    except OSError as error:
        raise OSError(f"{path} can't be read: {error.strerror}.") from None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # containers run as users without a name
        return str(os.geteuid())


def _private(pem: bytes, path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError(
            f"The key in {path} has a password, and nobody is there to give it: store it without one "
            "('openssl pkey -in KEY -out PLAIN'), readable for the ingress's user alone."
        ) from None
    except ValueError as error:
        raise ValueError(f"The key in {path} can't be read: {error}.") from None


def _check_time(certificate: x509.Certificate, path: Path, now: datetime) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > ends:
        raise ValueError(
            f"The time of the certificate in {path} was over on {ends:%Y-%m-%d %H:%M} UTC: renew it."
        )
    if now < begins:
        raise ValueError(
            f"The time of the certificate in {path} begins on {begins:%Y-%m-%d %H:%M} UTC; it is "
            f"{now.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC on this machine."
        )


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    names = found.get_values_for_type(x509.DNSName)
    addresses = found.get_values_for_type(x509.IPAddress)
    return (*(name.lower() for name in names), *map(str, addresses))


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _spelled(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
