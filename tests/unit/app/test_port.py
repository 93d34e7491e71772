"""Ports: what their names say, and how a gRPC server is reached."""

from __future__ import annotations

from typing import Any

import pytest

from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray.app import AppEnvironment, Port, grpc_address

PAST_PROXIES = ("grpc.enable_http_proxy", 0)


@pytest.mark.parametrize(
    ("url", "target", "options"),
    [
        (
            "http://127.0.0.1:8000/hello",
            "127.0.0.1:8000",
            [("grpc.default_authority", "hello.localhost"), PAST_PROXIES],
        ),
        ("http://10.0.0.7:8000/hello/", "10.0.0.7:8000", [("grpc.default_authority", "hello.localhost")]),
        ("http://[fd00::7]:8000/hello", "[fd00::7]:8000", [("grpc.default_authority", "hello.localhost")]),
        ("http://localhost:50051", "localhost:50051", [PAST_PROXIES]),
        ("http://hello.localhost:8000/", "hello.localhost:8000", []),
        ("http://hello.example.com", "hello.example.com:80", []),
        ("https://hello.example.com", "hello.example.com:443", []),
    ],
)
def test_an_app_is_named_by_the_authority(url: str, target: str, options: list[Any]) -> None:
    assert grpc_address(url) == (target, options)


def test_an_app_knows_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT_PATTERN, "http://localhost:50051")

    assert grpc_address(AppEnvironment("hello"))[0] == "localhost:50051"


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ("127.0.0.1:8000", ValueError, "takes the URL of an app, such as http://"),
        ("grpc://host", ValueError, "takes the URL of an app"),
        ("https://example.com/hello", ValueError, "a channel has no path. Give the app a host of its own"),
        ("http://example.com/apps/hello", ValueError, "a channel has no path"),
        (7, TypeError, "takes an app or its URL, got 7"),
    ],
)
def test_what_no_channel_can_be_made_of_is_refused(given: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        grpc_address(given)


@pytest.mark.parametrize("name", ["grpc", "h2", "http2", "H2C", "gRPC"])
def test_a_name_that_means_another_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f'port 8080 is {name!r}, .*"h2c" is the name for HTTP/2'):
        Port(8080, name)
