"""Certificates by which the ingresses of a cluster know each other, signed by an authority of the cluster's own.

A node makes its key and keeps it; what travels is what it asks to be signed, and what the authority signed.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flyteray._ingress.haproxy.maps import PEER_NAME

LIFETIME = timedelta(days=30)  # of a node's certificate
RENEWED_EVERY = timedelta(days=10)
_AUTHORITY_LIFETIME = timedelta(days=3650)
_CLOCKS = timedelta(days=1)  # by which two machines may differ


def new_key() -> bytes:
    """A private key, as PEM."""
    return _key_pem(ec.generate_private_key(ec.SECP256R1()))


def request(key: bytes) -> bytes:
    """What an authority is asked to sign for the owner of a key, as PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name("ingress"))
    signed = builder.sign(_private(key), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def is_fresh(certificate: bytes) -> bool:
    """Whether a node's certificate is good for long enough not to be renewed."""
    ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return ends - datetime.now(timezone.utc) > LIFETIME - RENEWED_EVERY


class Authority:
    """An authority of a cluster: ``certificate`` is public, ``key`` is not; both are PEM."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self.certificate = certificate
        self.key = key

    @classmethod
    def new(cls) -> Authority:
        """An authority that nobody knows yet."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("flyteray cluster")
        made = (
            _valid(_AUTHORITY_LIFETIME)
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(made.public_bytes(serialization.Encoding.PEM), _key_pem(key))

    def sign(self, asked: bytes) -> bytes:
        """The certificate of an ingress that asked for one; ValueError where the key that it names is not its own."""
        wanted = x509.load_pem_x509_csr(asked)
        if not wanted.is_signature_valid:
            raise ValueError("The request for a certificate is not signed with the key that it names.")
        own = x509.load_pem_x509_certificate(self.certificate)
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        made = (
            _valid(LIFETIME)
            .subject_name(_name("ingress"))
            .issuer_name(own.subject)
            .public_key(wanted.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(PEER_NAME)]), critical=False)
            .sign(_private(self.key), hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM)


def _valid(lifetime: timedelta) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS)
        .not_valid_after(now + lifetime + _CLOCKS)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _private(key: bytes) -> ec.EllipticCurvePrivateKey:
    loaded = serialization.load_pem_private_key(key, password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
