"""What users' files of TLS hold, and what is said where they are wrong."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from flyteray._ingress.tls.offered import Offered
from flyteray._settings import Tls
from tests.certificates import NOW, Issuer

ISSUER = Issuer()


def read(certificate: Path, key: Path, clients: Path | None = None) -> Offered:
    return Offered.read(Tls(certificate, key, clients), NOW)


def test_a_certificate_comes_before_those_behind_it_and_its_key(tmp_path: Path) -> None:
    issued = ISSUER.issue("apps.example.com", "*.Apps.example.com", "10.0.0.7")
    certificate, key = issued.put(tmp_path)
    certificate.write_bytes(b"words of a tool\n" + issued.certificate + b"\n\n" + ISSUER.certificate)

    offered = read(certificate, key)

    assert offered.chain == issued.certificate + ISSUER.certificate + issued.key
    assert offered.clients == b""
    assert offered.hosts == ("apps.example.com", "*.apps.example.com", "10.0.0.7")
    assert offered.ends > NOW


def test_one_file_may_hold_certificate_and_key(tmp_path: Path) -> None:
    issued = ISSUER.issue()
    both = tmp_path / "both.pem"
    both.write_bytes(issued.key + issued.certificate)

    assert read(both, both).chain == issued.certificate + issued.key


def test_the_authorities_of_clients_are_told_apart_from_the_chain(tmp_path: Path) -> None:
    certificate, key = ISSUER.issue().put(tmp_path)
    clients = tmp_path / "clients.pem"
    other = Issuer("other")
    clients.write_bytes(ISSUER.certificate + other.certificate)

    with_clients, without = read(certificate, key, clients), read(certificate, key)

    assert with_clients.clients == ISSUER.certificate + other.certificate
    assert with_clients.chain == without.chain
    assert with_clients.digest != without.digest


@pytest.mark.parametrize(
    ("address", "host"),
    [("10.0.0.7", "10.0.0.7"), ("a.b.example.com", "a.b.example.com"), ("10.0.0.8", "apps.example.com")],
)
def test_clients_are_given_a_host_that_the_certificate_is_for(
    tmp_path: Path, address: str, host: str
) -> None:
    issued = ISSUER.issue("*.b.example.com", "apps.example.com", "10.0.0.7")

    assert read(*issued.put(tmp_path)).host(address) == host


def test_where_a_certificate_has_no_host_to_give_the_address_is_given(tmp_path: Path) -> None:
    assert read(*ISSUER.issue("*.example.com").put(tmp_path)).host("10.0.0.8") == "10.0.0.8"


def test_a_star_stands_for_one_word(tmp_path: Path) -> None:
    offered = read(*ISSUER.issue("*.example.com").put(tmp_path))

    assert offered.is_for("a.example.com")
    assert not offered.is_for("a.b.example.com")
    assert not offered.is_for("example.com")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    certificate, key = ISSUER.issue().put(tmp_path)
    for wrong in ((tmp_path / "none.pem", key), (certificate, tmp_path / "none.key")):
        with pytest.raises(OSError, match=r"none\.(pem|key) can't be read: No such file or directory"):
            read(*wrong)
    with pytest.raises(OSError, match=r"clients can't be read: No such file"):
        read(certificate, key, tmp_path / "clients")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    certificate, key = ISSUER.issue().put(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    with pytest.raises(ValueError, match=f"{pipe} is no file: it is a folder, a pipe"):
        read(pipe, key)
    with pytest.raises(ValueError, match=f"{tmp_path} is no file"):
        read(certificate, tmp_path)


def test_a_file_that_may_not_be_read_names_who_may_not(tmp_path: Path) -> None:
    files = ISSUER.issue().put(tmp_path)
    tmp_path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read every file
    try:
        with pytest.raises(
            PermissionError, match=r"server\.pem may not be read by user '\w+', who runs the ingress"
        ):
            read(*files)
    finally:
        os.seteuid(user)
        tmp_path.chmod(0o700)


def test_files_without_what_they_are_for_are_told(tmp_path: Path) -> None:
    certificate, key = ISSUER.issue().put(tmp_path)

    with pytest.raises(ValueError, match=r"server\.key holds no certificate in PEM"):
        read(key, key)
    with pytest.raises(ValueError, match=r"server\.pem holds no private key in PEM"):
        read(certificate, certificate)
    certificate.write_text("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")
    with pytest.raises(ValueError, match=r"A certificate in \S+server\.pem can't be read"):
        read(certificate, key)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificate, _ = ISSUER.issue().put(tmp_path)
    _, other = ISSUER.issue().put(tmp_path, "other")

    with pytest.raises(
        ValueError, match=r"other\.key is not that of the certificate in \S+server\.pem: give the key"
    ):
        read(certificate, other)


def test_a_chain_that_begins_at_its_end_is_told(tmp_path: Path) -> None:
    issued = ISSUER.issue()
    certificate, key = issued.put(tmp_path)
    certificate.write_bytes(ISSUER.certificate + issued.certificate)

    with pytest.raises(ValueError, match="its own certificate is further below: put it first"):
        read(certificate, key)


def test_a_key_with_a_password_is_refused_with_the_way_out(tmp_path: Path) -> None:
    issued = ISSUER.issue()
    certificate, key = issued.put(tmp_path)
    private = serialization.load_pem_private_key(issued.key, None)
    locked = serialization.BestAvailableEncryption(b"of-the-tests")
    key.write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )

    with pytest.raises(ValueError, match=r"has a password, and nobody is there to give it.*openssl pkey"):
        read(certificate, key)


def test_a_key_that_is_broken_is_refused(tmp_path: Path) -> None:
    certificate, key = ISSUER.issue().put(tmp_path)
    key.write_text("-----BEGIN PRIVATE KEY-----\nbm90aGluZw==\n-----END PRIVATE KEY-----\n")

    with pytest.raises(ValueError, match=r"The key in \S+server\.key can't be read"):
        read(certificate, key)


def test_a_certificate_of_another_time_is_refused(tmp_path: Path) -> None:
    past = ISSUER.issue(begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=1))
    with pytest.raises(ValueError, match=r"was over on \d{4}-\d\d-\d\d \d\d:\d\d UTC: renew it"):
        read(*past.put(tmp_path))
    future = ISSUER.issue(begins=NOW + timedelta(days=1), ends=NOW + timedelta(days=9))
    with pytest.raises(ValueError, match=r"begins on .* it is .* UTC on this machine"):
        read(*future.put(tmp_path))
