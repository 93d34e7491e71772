"""Forwarding headers become what an ASGI application reads."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from flyteray._serve.servers.forwarded import ForwardedHeaders, ProxyHeaders

UNDER_A_PATH = {
    "X-Forwarded-For": "9.9.9.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "apps.example.com:8443",
    "X-Forwarded-Prefix": "/shop",
}
UNDER_A_HOST = {
    "X-Forwarded-For": "9.9.9.9",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Host": "shop.localhost:8080",
}


def mounted(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(request.url_for("sub:page")))


app = FastAPI()
app.mount("/sub", Starlette(routes=[Route("/page", mounted, name="page")]), name="sub")


@app.get("/seen", name="seen")
async def seen(request: Request) -> dict[str, Any]:
    assert request.client is not None
    return {"client": request.client.host, "url": str(request.url), "link": str(request.url_for("seen"))}


@app.get("/items/")
async def items() -> list[str]:
    return []


def get(path: str, headers: dict[str, str]) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=ForwardedHeaders(app))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_the_app_sees_the_clients_address_scheme_host_and_path() -> None:
    assert get("/seen", UNDER_A_PATH).json() == {
        "client": "9.9.9.9",
        "url": "https://apps.example.com:8443/shop/seen",
        "link": "https://apps.example.com:8443/shop/seen",
    }


def test_under_a_host_of_its_own_there_is_no_prefix() -> None:
    assert get("/seen", UNDER_A_HOST).json()["link"] == "http://shop.localhost:8080/seen"


def test_without_forwarding_headers_nothing_changes() -> None:
    assert get("/seen", {}).json()["url"] == "http://127.0.0.1:1/seen"


@pytest.mark.parametrize(
    ("headers", "location"),
    [
        (UNDER_A_PATH, "https://apps.example.com:8443/shop/items/"),
        (UNDER_A_HOST, "http://shop.localhost:8080/items/"),
    ],
)
def test_redirects_stay_on_the_route(headers: dict[str, str], location: str) -> None:
    assert get("/items", headers).headers["location"] == location


def test_mounted_applications_build_right_links() -> None:
    assert get("/sub/page", UNDER_A_PATH).text == "https://apps.example.com:8443/shop/sub/page"


def test_the_documentation_finds_its_schema_on_both_routes() -> None:
    assert "'/shop/openapi.json'" in get("/docs", UNDER_A_PATH).text
    assert get("/openapi.json", UNDER_A_PATH).json()["servers"] == [{"url": "/shop"}]

    assert "'/openapi.json'" in get("/docs", UNDER_A_HOST).text
    assert "servers" not in get("/openapi.json", UNDER_A_HOST).json()


def test_websockets_get_their_own_scheme() -> None:
    seen: dict[str, Any] = {}

    async def record(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    scope = {
        "type": "websocket",
        "path": "/ws",
        "raw_path": b"/ws",
        "headers": [(b"x-forwarded-proto", b"https")],
    }
    scope["headers"] += [(b"x-forwarded-prefix", b"/shop")]  # type: ignore[operator]

    async def call() -> None:
        await ForwardedHeaders(record)(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(call())
    assert tuple(seen[key] for key in ("scheme", "root_path", "path", "raw_path")) == (
        "wss",
        "/shop",
        "/shop/ws",
        b"/shop/ws",
    )


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("6.6.6.6", "6.6.6.6"),
        ("6.6.6.6:1234", "6.6.6.6"),
        ("[2001:db8::9]:99", "2001:db8::9"),
        ("1.1.1.1, 6.6.6.6:80, 10.0.0.2:443", "6.6.6.6"),
    ],
)
def test_an_address_is_told_without_its_port_by_a_trusted_proxy(chain: str, client: str) -> None:
    seen: dict[str, Any] = {}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope)

    scope = {
        "type": "http",
        "scheme": "http",
        "client": ("10.0.0.1", 5),
        "headers": [(b"x-forwarded-for", chain.encode())],
    }

    async def nothing(*_: Any) -> Any:
        raise AssertionError

    alone = ProxyHeaders(ForwardedHeaders(application), ["10.0.0.0/8"])
    asyncio.run(_run(alone, scope, nothing))

    assert seen["client"][0] == client


async def _run(app: Any, scope: Any, unused: Any) -> None:
    await app(scope, unused, unused)
