"""Apps that do not know the path they are below: what they say of their own addresses leads back to them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState
from tests.integration.ingress_servers import RawReplica, answered
from tests.integration.raw_http import http1

SAID: list[str] = []


@pytest.fixture(scope="module")
def port(ingress: Ingress) -> Iterator[int]:
    replica = RawReplica(lambda _: answered(b"", *SAID, status="302 Found"))
    ingress.apply(IngressState({"shop": 0, "other": 0}, {0: {1: replica.slot}}))
    yield ingress.port()
    replica.stop()


def said(port: int, header: str, value: str, path: str = "/shop/x", host: str = "h:1") -> str | None:
    SAID[:] = [f"{header}: {value}"]
    return http1(port, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()).header(header)


@pytest.mark.parametrize("header", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("/", "/shop/"),
        ("/login?next=/a#b", "/shop/login?next=/a#b"),
        ("/shopping", "/shop/shopping"),
        ("http://h:1/login", "http://h:1/shop/login"),
        ("http://h:1", "http://h:1/shop"),
        ("https://h:1/login", "https://h:1/shop/login"),
        ("//h:1/login", "//h:1/shop/login"),
        # they know already
        ("/shop", "/shop"),
        ("/shop/", "/shop/"),
        ("/shop?x", "/shop?x"),
        ("/shop/login", "/shop/login"),
        ("http://h:1/shop/login", "http://h:1/shop/login"),
        # not the app's root
        ("login", "login"),
        ("?page=2", "?page=2"),
        ("../up", "../up"),
        ("//elsewhere/x", "//elsewhere/x"),
        ("http://elsewhere/x", "http://elsewhere/x"),
        ("http://h:12/x", "http://h:12/x"),
        ("http://h:1/other/x", "http://h:1/other/x"),
        ("mailto:a@b", "mailto:a@b"),
    ],
)
def test_an_address_at_the_root_of_an_app_is_put_below_its_path(
    port: int, header: str, value: str, arrives: str
) -> None:
    assert said(port, header, value) == arrives
    assert said(port, header, value, path="/x", host="shop.localhost") == value


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("5; url=/login", "5; url=/shop/login"),
        ("0;URL='/login'", "0;URL='/shop/login'"),
        ("0; url=http://h:1/login", "0; url=http://h:1/shop/login"),
        ("0; url=/shop/login", "0; url=/shop/login"),
        ("0; url=login", "0; url=login"),
        ("0; url=http://elsewhere/", "0; url=http://elsewhere/"),
        ("5", "5"),
    ],
)
def test_so_is_where_a_page_goes_on_to(port: int, value: str, arrives: str) -> None:
    assert said(port, "Refresh", value) == arrives


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        ("a=b; Path=/", "a=b; Path=/shop"),
        ("a=b; Path=/; HttpOnly", "a=b; Path=/shop; HttpOnly"),
        ("a=b;path=/admin;Secure", "a=b;path=/shop/admin;Secure"),
        ("a=b; HttpOnly; Path=/x/x; SameSite=Lax", "a=b; HttpOnly; Path=/shop/x/x; SameSite=Lax"),
        ('a=b; Path="/"', 'a=b; Path="/shop"'),
        # they know already
        ("a=b; Path=/shop", "a=b; Path=/shop"),
        ("a=b; Path=/shop/; Secure", "a=b; Path=/shop/; Secure"),
        ("a=b; Path=/shop/x", "a=b; Path=/shop/x"),
        # a browser takes the path from the address, or insists on the root
        ("a=b", "a=b"),
        ("a=path=/; Secure", "a=path=/; Secure"),
        ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
    ],
)
def test_a_cookie_of_the_whole_app_is_one_of_its_path(port: int, value: str, arrives: str) -> None:
    assert said(port, "Set-Cookie", value) == arrives
    assert said(port, "Set-Cookie", value, path="/x", host="shop.localhost") == value


def test_each_of_many_cookies_is(port: int) -> None:
    SAID[:] = ["Set-Cookie: a=1; Path=/", "Set-Cookie: b=2; Path=/b", "Set-Cookie: c=3"]
    head = http1(port, b"GET /shop/x HTTP/1.1\r\nHost: h:1\r\n\r\n").head

    assert [line.partition(": ")[2] for line in head.split("\r\n") if line.startswith("set-cookie")] == [
        "a=1; Path=/shop",
        "b=2; Path=/shop/b",
        "c=3",
    ]
