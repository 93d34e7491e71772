"""Clients come by TLS: over HTTP/1 and HTTP/2, with certificates that are replaced, and some with one of their own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from cryptography import x509
from websockets.sync.client import connect

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.ingress import Ingress, found_at
from flyteray._ingress.routes import IngressState
from flyteray._ingress.tls.offered import Offered
from flyteray._machine import ports
from flyteray._plan.credentials import key_digest
from flyteray._settings import Tls
from flyteray.errors import ClusterError
from tests.certificates import NOW, Issuer
from tests.integration.http2_client import http2
from tests.integration.ingress_servers import Replica, replicas
from tests.integration.raw_http import Answer, http1, read_answer
from tests.waiting import eventually

KEY = "flyteray_of-the_tests"
OWN = found_at("0.0.0.0")
elsewhere = pytest.mark.skipif(OWN.startswith("127."), reason="this machine has no address but loopback")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("one") as [replica]:
        yield replica


@pytest.fixture(scope="module")
def state(replica: Replica) -> IngressState:
    return IngressState(
        {"app": 0, "closed": 0},
        {0: {1: replica.slot}},
        {"apps.example.org": "app"},
        private=frozenset({"closed"}),
        keys={key_digest(KEY): Grant("ann")},
    )


@contextlib.contextmanager
def offering(directory: Path, state: IngressState, tls: Tls, **options: Any) -> Iterator[Ingress]:
    ingress = Ingress(directory, watched=os.getpid(), tls=tls, **options)
    try:
        ingress.apply(state)
        yield ingress
    finally:
        ingress.stop()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> tuple[Path, Path]:
    return issuer.issue().put(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def ingress(
    tmp_path_factory: pytest.TempPathFactory, state: IngressState, files: tuple[Path, Path]
) -> Iterator[Ingress]:
    with offering(tmp_path_factory.mktemp("ingress"), state, Tls(*files)) as ingress:
        yield ingress


@pytest.fixture
def trusting(issuer: Issuer) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=issuer.certificate.decode())


def client(context: ssl.SSLContext, *, http2: bool = False) -> httpx.Client:
    return httpx.Client(verify=context, http2=http2, timeout=20)


def serial(port: int, context: ssl.SSLContext) -> str:
    """The number of the certificate that is shown to a new connection."""
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        shown = connection.getpeercert()
        assert shown is not None
        return str(shown["serialNumber"])


def told(ingress: Ingress) -> str:
    assert ingress.offer is not None
    return ingress.offer.told()


def from_afar(port: int, request: bytes) -> Answer:
    """The answer to a request that comes from another address than the one that it came to."""
    with socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(OWN, 0)) as raw:
        raw.sendall(request)
        return read_answer(raw)


@pytest.mark.parametrize("http2", [False, True])
def test_requests_come_by_tls_over_both_versions(
    ingress: Ingress, trusting: ssl.SSLContext, http2: bool
) -> None:
    with client(trusting, http2=http2) as http:
        answer = http.post(f"https://localhost:{ingress.tls_port()}/app/x?y=1", content=b"z" * 100_000)

    seen = answer.json()
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert (seen["method"], seen["path"], seen["query"], len(seen["body"])) == ("POST", "/x", "y=1", 100_000)
    assert seen["headers"]["x-forwarded-proto"] == "https"
    assert seen["headers"]["x-forwarded-host"] == f"localhost:{ingress.tls_port()}"


@pytest.mark.parametrize("http2", [False, True])
def test_keys_and_refusals_are_the_same_by_tls(
    ingress: Ingress, trusting: ssl.SSLContext, http2: bool
) -> None:
    at = f"https://localhost:{ingress.tls_port()}"
    with client(trusting, http2=http2) as http:
        assert http.get(f"{at}/closed/").status_code == 401
        told = http.get(f"{at}/closed/", headers={"Authorization": f"Bearer {KEY}"}).json()
        assert told["headers"]["x-flyteray-user"] == "ann"
        assert http.get(f"{at}/none/").status_code == 404
        assert http.get(f"{at}/app/", headers={"X-Long": "x" * 70_000}).status_code == 431


def test_a_websocket_is_opened_by_tls(ingress: Ingress, trusting: ssl.SSLContext) -> None:
    with connect(f"wss://localhost:{ingress.tls_port()}/app/", ssl=trusting) as websocket:
        websocket.send("hello")
        assert [websocket.recv(), websocket.recv()] == ["one /", "one hello"]


def test_a_websocket_is_opened_over_http2(ingress: Ingress, trusting: ssl.SSLContext) -> None:
    asked = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/app/"),
        (":authority", "localhost"),
        ("sec-websocket-version", "13"),
    ]
    with http2(ingress.tls_port(), trusting) as connection:
        stream = connection.open(asked)
        assert connection.headers(stream)[":status"] == "200"
        connection.send(stream, b"\x81\x85\x00\x00\x00\x00hello")  # a text, masked with nothing
        assert connection.data(stream, 18) == b"\x81\x05one /\x81\x09one hello"
        foreign = connection.open([*asked, ("origin", "https://page.example")])
        assert connection.headers(foreign)[":status"] == "403"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_of_long_ago_is_not_spoken(ingress: Ingress, trusting: ssl.SSLContext) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", ingress.tls_port())) as raw:
        old.wrap_socket(raw)


def test_hosts_of_the_certificate_need_no_other_naming(
    tmp_path: Path, issuer: Issuer, state: IngressState, trusting: ssl.SSLContext
) -> None:
    files = issuer.issue("public.example.net", "localhost").put(tmp_path)
    with offering(tmp_path / "ingress", state, Tls(*files)) as ingress, client(trusting) as http:
        named = {"Host": "public.example.net"}
        assert http.get(f"https://localhost:{ingress.tls_port()}/app/", headers=named).status_code == 200
        assert http1(ingress.port(), b"GET /app/ HTTP/1.1\r\nHost: public.example.net\r\n\r\n").status == 421


@elsewhere
@pytest.mark.parametrize(
    ("host", "target", "location"),
    [
        ("localhost:1234", "/app/x?y=%20", "https://localhost:{port}/app/x?y=%20"),
        ("apps.example.org", "/x", "https://apps.example.org:{port}/x"),
        ("[fd00::7]:80", "/app/", "https://[fd00::7]:{port}/app/"),
        ("a.example", "http://a.example/app/x", "https://a.example:{port}/app/x"),
        ("a.example", "//evil.example/app/", "https://a.example:{port}//evil.example/app/"),
    ],
)
def test_who_comes_from_another_machine_without_tls_is_sent_there(
    ingress: Ingress, host: str, target: str, location: str
) -> None:
    for method in ("GET", "POST"):
        request = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n"
        answer = from_afar(ingress.port(), request.encode())
        assert answer.status == 308
        assert answer.header("location") == location.format(port=ingress.tls_port())


@elsewhere
def test_who_names_no_host_is_told_where_tls_is(ingress: Ingress) -> None:
    answer = from_afar(ingress.port(), b"GET /app/ HTTP/1.0\r\n\r\n")

    assert answer.status == 426
    assert "by TLS only" in answer.text


@elsewhere
def test_clients_of_grpc_which_follow_no_redirect_are_told_where_tls_is(ingress: Ingress) -> None:
    lines = "POST /a/b HTTP/1.1", "Host: app.localhost", "Content-Type: application/grpc", "Content-Length: 0"

    answer = from_afar(ingress.port(), "".join(f"{line}\r\n" for line in (*lines, "")).encode())

    assert (answer.status, answer.header("grpc-status")) == (426, "2")
    assert "by TLS only" in (answer.header("grpc-message") or "")


@elsewhere
def test_code_on_this_machine_needs_no_tls(ingress: Ingress) -> None:
    assert http1(ingress.port(), b"GET /app/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200


@elsewhere
def test_code_on_this_machine_needs_no_tls_at_any_of_its_addresses(
    tmp_path: Path, files: tuple[Path, Path], state: IngressState
) -> None:
    with (
        offering(tmp_path, state, Tls(*files), host=OWN) as ingress,
        socket.create_connection((OWN, ingress.port()), timeout=20) as raw,
    ):
        raw.sendall(b"GET /app/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(raw).status == 200


@elsewhere
def test_proxies_that_are_believed_come_as_they_like(
    tmp_path: Path, files: tuple[Path, Path], state: IngressState, trusting: ssl.SSLContext
) -> None:
    with offering(tmp_path, state, Tls(*files), trusted_proxies=(f"{OWN}/32", "127.0.0.1/32")) as ingress:
        for said in ("http", "https"):
            lines = f"GET /app/ HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Proto: {said}\r\n\r\n"
            answer = from_afar(ingress.port(), lines.encode())
            assert json.loads(answer.text)["headers"]["x-forwarded-proto"] == said
            with client(trusting) as http:
                seen = http.get(
                    f"https://localhost:{ingress.tls_port()}/app/", headers={"X-Forwarded-Proto": said}
                ).json()
            assert seen["headers"]["x-forwarded-proto"] == said


def test_another_certificate_is_shown_and_nothing_is_cut(
    tmp_path: Path, issuer: Issuer, state: IngressState, trusting: ssl.SSLContext, replica: Replica
) -> None:
    first, second = issuer.issue(), issuer.issue()
    certificate, key = first.put(tmp_path)
    with offering(tmp_path / "ingress", state, Tls(certificate, key)) as ingress:
        at = ingress.tls_port()
        before = serial(at, trusting)
        with connect(f"wss://localhost:{at}/app/", ssl=trusting) as websocket, client(trusting) as http:
            http.get(f"https://localhost:{at}/app/")
            certificate.write_bytes(second.certificate)
            eventually(lambda: "is not that of the certificate" in told(ingress))  # one of two files is new
            assert serial(at, trusting) == before
            key.write_bytes(second.key)
            eventually(lambda: serial(at, trusting) != before)
            websocket.send("still there")
            assert [websocket.recv(), websocket.recv()] == ["one /", "one still there"]
            assert http.get(f"https://localhost:{at}/app/").status_code == 200
        eventually(lambda: "earlier" not in told(ingress))
        after = serial(at, trusting)
        found = process.running(tmp_path / "ingress")
        assert found is not None
        psutil.Process(found.pid).children()[0].kill()
        eventually(lambda: shown(at, trusting) == after)  # a new process has it too


def shown(port: int, context: ssl.SSLContext) -> str | None:
    with contextlib.suppress(OSError):
        return serial(port, context)
    return None


def test_a_certificate_that_is_renewed_during_a_reload_is_shown_after_it(
    tmp_path: Path, issuer: Issuer, state: IngressState, trusting: ssl.SSLContext
) -> None:
    """The worker that begins has read an earlier one by then."""
    many = state.but(backends={**state.backends, 3000: {}})  # so that a reload takes long
    with offering(tmp_path / "ingress", many, Tls(*issuer.issue().put(tmp_path))) as ingress:
        serving = ingress._workers.serving(Conversation.pid)
        reloading = threading.Thread(target=ingress._engine.reload, args=(lambda: None,))
        reloading.start()
        file = tmp_path / "ingress" / maps.TLS_FILE
        while ingress._workers.serving(Conversation.pid) == serving:
            renewed = issuer.issue()
            offered = Offered.read(Tls(*renewed.put(tmp_path)), NOW)
            ingress._engine.show(offered, partial(file.write_bytes, offered.chain))
        reloading.join()

        number = x509.load_pem_x509_certificate(renewed.certificate).serial_number
        assert int(serial(ingress.tls_port(), trusting), 16) == number


def test_a_secret_of_kubernetes_is_followed_by_its_link(
    tmp_path: Path, issuer: Issuer, state: IngressState, trusting: ssl.SSLContext
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        issuer.issue().put(tmp_path / name, "tls")
    (tmp_path / "..data").symlink_to("one")
    for name in ("tls.pem", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    with offering(tmp_path / "ingress", state, Tls(tmp_path / "tls.pem", tmp_path / "tls.key")) as ingress:
        before = serial(ingress.tls_port(), trusting)
        (tmp_path / "..new").symlink_to("two")
        os.replace(tmp_path / "..new", tmp_path / "..data")
        eventually(lambda: serial(ingress.tls_port(), trusting) != before)


def test_a_wrong_file_leaves_the_earlier_certificate_and_is_told(
    tmp_path: Path, issuer: Issuer, state: IngressState, trusting: ssl.SSLContext
) -> None:
    certificate, key = issuer.issue().put(tmp_path)
    with offering(tmp_path / "ingress", state, Tls(certificate, key)) as ingress:
        before = serial(ingress.tls_port(), trusting)
        past = issuer.issue(begins=NOW - timedelta(days=9), ends=NOW - timedelta(days=1))
        past.put(tmp_path)
        eventually(lambda: "was over on" in told(ingress))
        assert serial(ingress.tls_port(), trusting) == before
        key.unlink()
        eventually(lambda: "server.key can't be read" in told(ingress))
        again = Ingress(tmp_path / "ingress", watched=os.getpid(), tls=Tls(certificate, key))
        assert "an earlier one is shown" in told(again)  # who comes back to it cuts nothing either
        assert serial(again.tls_port(), trusting) == before
        again.stop()


def test_who_asks_for_tls_with_wrong_files_gets_no_ingress(tmp_path: Path, issuer: Issuer) -> None:
    certificate, key = issuer.issue().put(tmp_path)
    key.unlink()

    with pytest.raises(ClusterError, match=r"can't offer TLS\. \S+server\.key can't be read: No such file"):
        Ingress(tmp_path / "ingress", watched=os.getpid(), tls=Tls(certificate, key))


def test_a_port_for_tls_that_is_taken_is_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ClusterError, match=f"Port {port} of 127.0.0.1 is taken .*: FLYTERAY_TLS_PORT, or"
        ):
            Ingress(tmp_path, watched=os.getpid(), tls=Tls(*files, port=port))


def test_a_port_for_tls_is_kept_and_a_wanted_one_is_used(tmp_path: Path, files: tuple[Path, Path]) -> None:
    def port(wanted: int) -> int:
        ingress = Ingress(tmp_path, watched=os.getpid(), tls=Tls(*files, port=wanted))
        ingress.stop()
        return ingress.tls_port()

    first = port(0)
    wanted = ports.free_port("127.0.0.1")

    assert port(0) == first
    assert port(wanted) == wanted
    assert port(0) == wanted


def test_a_key_that_all_may_read_is_told_of(tmp_path: Path, issuer: Issuer, state: IngressState) -> None:
    certificate, key = issuer.issue().put(tmp_path)
    key.chmod(0o644)

    with offering(tmp_path / "ingress", state, Tls(certificate, key)) as ingress:
        assert f"{key} can be read by every user of this machine: chmod 600 it" in told(ingress)
        assert ((tmp_path / "ingress" / "tls.pem").stat().st_mode & 0o777) == 0o600


def test_clients_show_a_certificate_where_that_is_asked(
    tmp_path: Path, issuer: Issuer, state: IngressState
) -> None:
    certificate, key = issuer.issue().put(tmp_path)
    of_clients, of_others = Issuer("clients"), Issuer("others")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(of_clients.certificate)

    def ask(signed_by: Issuer | None) -> httpx.Response:
        context = ssl.create_default_context(cadata=issuer.certificate.decode())
        if signed_by is not None:
            context.load_cert_chain(*signed_by.issue("x", name="ann, of sales").put(tmp_path, "client"))
        with client(context) as http:
            forged = {"X-Flyteray-Client-Certificate": "CN=eve"}
            return http.get(f"https://localhost:{ingress.tls_port()}/app/", headers=forged)

    with offering(tmp_path / "ingress", state, Tls(certificate, key, clients)) as ingress:
        told = ask(of_clients).json()["headers"]
        assert told["x-flyteray-client-certificate"] == r"CN=ann\, of sales"
        for wrong in (None, of_others):
            with pytest.raises(httpx.TransportError):
                ask(wrong)
        clients.write_bytes(of_others.certificate)

        def others_come() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return ask(of_others).status_code == 200
            return False

        eventually(others_come)
        with pytest.raises(httpx.TransportError):
            ask(of_clients)


def test_many_clients_at_once_shake_hands(ingress: Ingress, trusting: ssl.SSLContext) -> None:
    answers: list[int] = []

    def ask() -> None:
        connection = http.client.HTTPSConnection(
            "localhost", ingress.tls_port(), context=trusting, timeout=30
        )
        connection.request("GET", "/app/")
        answers.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert answers == [200] * 32
