"""Certificates of ingresses, as OpenSSL takes them: over real connections on this machine."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509

from flyteray._ingress.haproxy.maps import PEER_NAME
from flyteray._ingress.tls import certificates
from flyteray._ingress.tls.certificates import Authority


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


def context(
    purpose: ssl.Purpose, folder: Path, authority: Authority, signed_by: Authority | None
) -> ssl.SSLContext:
    """What an ingress has: it asks for a certificate of ``authority``, and has one of ``signed_by``."""
    (folder / "ca.pem").write_bytes(authority.certificate)
    made = ssl.create_default_context(purpose, cafile=folder / "ca.pem")
    made.verify_mode = ssl.CERT_REQUIRED
    if signed_by is not None:
        key = certificates.new_key()
        (folder / "own.pem").write_bytes(signed_by.sign(certificates.request(key)) + key)
        made.load_cert_chain(folder / "own.pem")
    return made


@contextlib.contextmanager
def listening(server: ssl.SSLContext) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection, server.wrap_socket(connection, server_side=True) as wrapped:
                wrapped.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join()


def says(client: ssl.SSLContext, port: int, name: str = PEER_NAME) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        client.wrap_socket(connection, server_hostname=name) as wrapped,
    ):
        return wrapped.recv(10)


def test_two_ingresses_of_one_cluster_know_each_other(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server = context(ssl.Purpose.CLIENT_AUTH, tmp_path, authority, authority)
    client = context(ssl.Purpose.SERVER_AUTH, tmp_path / "other", authority, authority)

    with listening(server) as port:
        assert says(client, port) == b"hello"


@pytest.mark.parametrize("whose", ["nobody's", "another cluster's"])
def test_one_that_is_not_of_the_cluster_is_refused(authority: Authority, tmp_path: Path, whose: str) -> None:
    (tmp_path / "other").mkdir()
    server = context(ssl.Purpose.CLIENT_AUTH, tmp_path, authority, authority)
    signed_by = None if whose == "nobody's" else Authority.new()
    client = context(ssl.Purpose.SERVER_AUTH, tmp_path / "other", authority, signed_by)

    with listening(server) as port, pytest.raises((ssl.SSLError, ConnectionError)):
        says(client, port)


def test_an_ingress_asks_nobody_of_another_cluster(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server = context(ssl.Purpose.CLIENT_AUTH, tmp_path, authority, Authority.new())
    client = context(ssl.Purpose.SERVER_AUTH, tmp_path / "other", authority, authority)

    with listening(server) as port, pytest.raises(ssl.SSLCertVerificationError):
        says(client, port)


def test_a_certificate_is_for_the_names_of_ingresses_only(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    server = context(ssl.Purpose.CLIENT_AUTH, tmp_path, authority, authority)
    client = context(ssl.Purpose.SERVER_AUTH, tmp_path / "other", authority, authority)

    with listening(server) as port, pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        says(client, port, "example.com")


def test_a_certificate_can_sign_no_other(authority: Authority) -> None:
    key = certificates.new_key()
    own = Authority(authority.sign(certificates.request(key)), key)

    signed = x509.load_pem_x509_certificate(own.certificate)

    assert not signed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not signed.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_a_request_that_was_changed_on_its_way_is_refused(authority: Authority) -> None:
    asked = x509.load_pem_x509_csr(certificates.request(certificates.new_key()))
    other = x509.load_pem_x509_csr(certificates.request(certificates.new_key()))
    changed = asked.public_bytes(certificates.serialization.Encoding.DER).replace(
        asked.public_key().public_bytes(
            certificates.serialization.Encoding.DER,
            certificates.serialization.PublicFormat.SubjectPublicKeyInfo,
        ),
        other.public_key().public_bytes(
            certificates.serialization.Encoding.DER,
            certificates.serialization.PublicFormat.SubjectPublicKeyInfo,
        ),
    )
    pem = x509.load_der_x509_csr(changed).public_bytes(certificates.serialization.Encoding.PEM)

    with pytest.raises(ValueError, match="not signed with the key"):
        authority.sign(pem)


def test_clocks_of_two_machines_may_be_hours_apart(authority: Authority) -> None:
    signed = x509.load_pem_x509_certificate(authority.sign(certificates.request(certificates.new_key())))
    now = datetime.now(timezone.utc)

    for certificate in (signed, x509.load_pem_x509_certificate(authority.certificate)):
        assert certificate.not_valid_before_utc < now - timedelta(hours=12)
        assert certificate.not_valid_after_utc > now + timedelta(days=29)


def test_a_certificate_is_renewed_long_before_it_ends(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = authority.sign(certificates.request(certificates.new_key()))
    monkeypatch.setattr(certificates, "LIFETIME", timedelta(days=15))
    old = authority.sign(certificates.request(certificates.new_key()))
    monkeypatch.undo()

    assert certificates.is_fresh(new)
    assert not certificates.is_fresh(old)
