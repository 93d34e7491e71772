"""A proxy in front of the ingress: what it says of its clients is taken over if it is trusted, and only then."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from flyteray._plan.credentials import key_digest
from tests.integration.ingress_servers import RawReplica
from tests.integration.raw_http import Answer, http1, http2

KEY = "flyteray_of-the_tests"


@contextlib.contextmanager
def started(
    folder: Path, replica: RawReplica, *proxies: str, headers: tuple[str, ...] = ()
) -> Iterator[Ingress]:
    ingress = Ingress(
        folder,
        watched=os.getpid(),
        trusted_proxies=proxies,
        trusted_headers=headers,
        allowed_hosts=("inside", "evil", "*.example.com"),
    )
    try:
        ingress.apply(
            IngressState(
                {"app": 0, "closed": 0},
                {0: {1: replica.slot}},
                {"models.example.com": "app"},
                private=frozenset({"closed"}),
                keys={key_digest(KEY): Grant("ann")},
            )
        )
        yield ingress
    finally:
        ingress.stop()


@pytest.fixture(scope="module")
def trusting(replica: RawReplica, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """Believes this machine, a network and one more proxy."""
    proxies = ("127.0.0.0/8", "10.0.0.0/8", "2001:db8::7/128")
    headers = ("x-forwarded-user", "x-auth-groups")
    with started(tmp_path_factory.mktemp("trusting"), replica, *proxies, headers=headers) as ingress:
        yield ingress


@pytest.fixture(scope="module")
def distrusting(replica: RawReplica, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ingress]:
    """Believes a proxy that is not this machine."""
    with started(
        tmp_path_factory.mktemp("distrusting"), replica, "10.0.0.0/8", headers=("x-auth-groups",)
    ) as ingress:
        yield ingress


def ask(ingress: Ingress, headers: str, path: str = "/app/", host: str = "inside:1") -> Answer:
    lines = "".join(f"{line.strip()}\r\n" for line in headers.strip().splitlines())
    return http1(ingress.port(), f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode())


def seen(replica: RawReplica) -> dict[str, str]:
    """The headers of the last request."""
    found = re.findall(r"^([^:\r\n]+): (.*?)\r$", replica.requests[-1].decode(), re.MULTILINE)
    return {
        name: value
        for name, value in found
        if name not in ("host", "x-forwarded-prefix", "x-flyteray-replica", "x-request-id")
    }


@pytest.mark.parametrize(
    ("says", "arrives"),
    [
        (
            "X-Forwarded-For: 9.9.9.9\nX-Forwarded-Proto: https\nX-Forwarded-Host: ml.example.com",
            {
                "x-forwarded-for": "9.9.9.9, 127.0.0.1",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "ml.example.com",
                "x-flyteray-client": "9.9.9.9",
            },
        ),
        (
            "X-Forwarded-For: 6.6.6.6, 9.9.9.9, 10.1.1.1\nX-Forwarded-Proto: https\nX-Forwarded-Port: 8443",
            {
                "x-forwarded-for": "6.6.6.6, 9.9.9.9, 10.1.1.1, 127.0.0.1",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "inside:1",
                "x-forwarded-port": "8443",
                "x-flyteray-client": "9.9.9.9",
            },
        ),
        (
            "X-Forwarded-For: 6.6.6.6\nX-Forwarded-For: 2001:db8::9, 2001:db8::7\nX-Forwarded-Proto: http, https\n"
            "X-Forwarded-Host: evil, ml.example.com\nX-Forwarded-Port: 8443",
            {
                "x-forwarded-for": "6.6.6.6, 2001:db8::9, 2001:db8::7, 127.0.0.1",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "ml.example.com:8443",
                "x-forwarded-port": "8443",
                "x-flyteray-client": "2001:db8::9",
            },
        ),
        (
            'Forwarded: for=6.6.6.6;proto=http;host=evil, for="[2001:db8::9]:4711";proto=https;host=ml.example.com',
            {
                "x-forwarded-for": "2001:db8::9, 127.0.0.1",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "ml.example.com",
                "x-flyteray-client": "2001:db8::9",
                "forwarded": "for=6.6.6.6;proto=http;host=evil, "
                'for="[2001:db8::9]:4711";proto=https;host=ml.example.com, for=127.0.0.1',
            },
        ),
        (
            "Forwarded: for=9.9.9.9;proto=https;host=ml.example.com, for=10.2.2.2",
            {
                "x-forwarded-for": "9.9.9.9, 127.0.0.1",
                "x-forwarded-proto": "https",
                "x-forwarded-host": "ml.example.com",
                "x-flyteray-client": "9.9.9.9",
                "forwarded": "for=9.9.9.9;proto=https;host=ml.example.com, for=10.2.2.2, for=127.0.0.1",
            },
        ),
        # an address with its port
        (
            "X-Forwarded-For: 9.9.9.9:4711, 10.1.1.1:80",
            {
                "x-forwarded-for": "9.9.9.9:4711, 10.1.1.1:80, 127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "inside:1",
                "x-flyteray-client": "9.9.9.9",
            },
        ),
        (
            "X-Forwarded-For: [2001:db8::9]:4711",
            {
                "x-forwarded-for": "[2001:db8::9]:4711, 127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "inside:1",
                "x-flyteray-client": "2001:db8::9",
            },
        ),
        # the client's own word beside the proxy's
        (
            "X-Forwarded-For: 9.9.9.9\nForwarded: for=6.6.6.6;host=evil;proto=https",
            {
                "x-forwarded-for": "9.9.9.9, 127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "inside:1",
                "x-flyteray-client": "9.9.9.9",
            },
        ),
        # what is no address, host or scheme
        (
            "X-Forwarded-For: 9.9.9.9, unknown\nX-Forwarded-Proto: javascript\n"
            "X-Forwarded-Host: a b/c\nX-Forwarded-Port: x",
            {
                "x-forwarded-for": "9.9.9.9, unknown, 127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "inside:1",
                "x-flyteray-client": "127.0.0.1",
            },
        ),
        (
            "",
            {
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "inside:1",
                "x-flyteray-client": "127.0.0.1",
            },
        ),
    ],
)
def test_what_a_trusted_proxy_says_is_taken_over(
    trusting: Ingress, replica: RawReplica, says: str, arrives: dict[str, str]
) -> None:
    ask(trusting, says)

    assert seen(replica) == arrives


def test_chosen_headers_pass_from_a_trusted_proxy_and_no_others(
    trusting: Ingress, replica: RawReplica
) -> None:
    ask(
        trusting,
        """X-Forwarded-User: ann
        X_Forwarded_User: root
        X-Auth-Groups: staff
        X-Auth_Groups: root
        X-Forwarded-Email: x
        X-Flyteray-User: root
        X-Flyteray_User: root
        X-Real-IP: 6.6.6.6
        X-Forwarded-Prefix: /evil""",
    )

    assert seen(replica) == {
        "x-forwarded-user": "ann",
        "x-auth-groups": "staff",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "inside:1",
        "x-flyteray-client": "127.0.0.1",
    }
    assert b"x-forwarded-prefix: /app\r\n" in replica.requests[-1]


@pytest.mark.parametrize("version", [1, 2])
def test_of_others_nothing_is(distrusting: Ingress, replica: RawReplica, version: int) -> None:
    forged = [
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "models.example.com"),
        ("x-forwarded-port", "8443"),
        ("forwarded", "for=9.9.9.9"),
        ("x-auth-groups", "root"),
        ("x_auth_groups", "root"),
        ("x-auth_groups", "root"),
    ]
    if version == 1:
        ask(distrusting, "\n".join(f"{name}: {value}" for name, value in forged))
    else:
        http2(distrusting.port(), forged, path="/app/", authority="inside:1")

    assert seen(replica) == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "inside:1",
    }


def test_the_address_that_clients_use_leads_to_an_app(trusting: Ingress, distrusting: Ingress) -> None:
    says = "X-Forwarded-Host: models.example.com\nX-Forwarded-Proto: https"

    assert ask(trusting, says, path="/some/page").status == 200
    assert ask(distrusting, says, path="/some/page").status == 404
    assert ask(trusting, "X-Forwarded-Host: other.example.com", path="/app/page").status == 200
    assert ask(trusting, says, path="/page", host="app.localhost").status == 200


def test_a_trusted_proxy_needs_the_key_as_everybody(trusting: Ingress, replica: RawReplica) -> None:
    refused = ask(trusting, "X-Forwarded-User: ann\nX-Flyteray-User: ann", path="/closed/")
    let_in = ask(trusting, f"X-Forwarded-User: bob\nAuthorization: Bearer {KEY}", path="/closed/")

    assert (refused.status, let_in.status) == (401, 200)
    assert seen(replica)["x-flyteray-user"] == "ann"
    assert seen(replica)["x-forwarded-user"] == "bob"
