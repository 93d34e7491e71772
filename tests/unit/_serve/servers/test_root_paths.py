"""An application with a root path of its own is right under a host and below a path of the ingress."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flyteray._serve.servers import ports
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.function import FunctionServer
from flyteray._serve.servers.hosting import Hosting, Server

# Programs still say it so.
pytestmark = pytest.mark.filterwarnings("ignore:The `root_path` parameter is deprecated")

DECLARED = 8080  # what the function below has hard-coded; nothing is bound to it here
ROOT = "/api/v1"


def api(root_path: str, files: Path) -> FastAPI:
    app = FastAPI(root_path=root_path)
    sub = FastAPI()
    app.mount("/sub", sub)
    app.mount("/static", StaticFiles(directory=files), name="static")

    @app.get("/links", name="links")
    async def links(request: Request) -> list[str]:
        return [str(request.url_for("links")), str(request.url_for("static", path="a.txt"))]

    @app.get("/items/")
    async def items() -> str:
        return "items"

    @sub.get("/seen")
    async def seen(request: Request) -> str:
        return str(request.scope["root_path"])

    @app.websocket("/ws")
    async def ws(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.url.path)

    return app


def plain(files: Path) -> Starlette:
    async def links(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url_for("links")))

    return Starlette(routes=[Route("/links", links), Mount("/static", StaticFiles(directory=files))])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("static")
    return tmp_path


def asked(server: Server, prefix: str, *paths: str) -> list[httpx.Response]:
    """What the ingress would be answered that has taken off the prefix."""
    headers = {"X-Forwarded-Host": "outside"} | ({"X-Forwarded-Prefix": prefix} if prefix else {})

    async def main() -> list[httpx.Response]:
        hosting = Hosting(server, arguments={})
        await hosting.start()
        try:
            base = f"http://127.0.0.1:{server.port}"
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=60) as client:
                return [await client.get(path) for path in paths]
        finally:
            await hosting.stop(5)

    return asyncio.run(main())


def served(app: Any, by: str) -> Server:
    sock = ports.listening_socket("127.0.0.1")
    if by == "asgi":
        return AsgiServer(app, sock)
    port = sock.getsockname()[1]
    sock.close()
    run = lambda: uvicorn.run(app, port=DECLARED, log_config=None)  # noqa: E731
    return FunctionServer(run, {}, declared=DECLARED, host="127.0.0.1", port=port)


@pytest.mark.parametrize("by", ["asgi", "function"])
@pytest.mark.parametrize("prefix", ["", "/hello"])
def test_fastapis_root_path_is_joined_to_the_prefix(files: Path, prefix: str, by: str) -> None:
    paths = ("/links", f"{ROOT}/links", "/docs", "/openapi.json", "/sub/seen", "/static/a.txt", "/items")

    links, again, docs, openapi, sub, static, redirect = asked(served(api(ROOT, files), by), prefix, *paths)

    outside = f"http://outside{prefix}{ROOT}"
    assert links.json() == again.json() == [f"{outside}/links", f"{outside}/static/a.txt"]
    assert f"url: '{prefix}{ROOT}/openapi.json'" in docs.text
    assert openapi.json()["servers"] == [{"url": f"{prefix}{ROOT}"}]
    assert sub.json() == f"{prefix}{ROOT}/sub"
    assert static.text == "static"
    assert redirect.headers["location"] == f"{outside}/items/"
    inside = [link.removeprefix(f"http://outside{prefix}") for link in links.json()]
    assert [each.status_code for each in asked(served(api(ROOT, files), by), prefix, *inside)] == [200, 200]


@pytest.mark.parametrize("prefix", ["", "/hello"])
def test_a_root_path_behind_a_wrapper_is_joined_too(files: Path, prefix: str) -> None:
    inner = api(ROOT, files)

    async def wrapper(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    found = asked(served(wrapper, "asgi"), prefix, "/links", f"{ROOT}/links", "/items/", "/nothing")

    assert [each.status_code for each in found] == [200, 200, 200, 404]


@pytest.mark.parametrize("prefix", ["", "/hello"])
def test_uvicorns_root_path_is_joined_to_the_prefix_and_taken_off_once(files: Path, prefix: str) -> None:
    config = uvicorn.Config("unused:app", root_path=ROOT)
    server = AsgiServer(plain(files), ports.listening_socket("127.0.0.1"), config)  # type: ignore[arg-type]

    links, again, static = asked(server, prefix, "/links", f"{ROOT}/links", "/static/a.txt")

    assert links.text == again.text == f"http://outside{prefix}{ROOT}/links"
    assert static.text == "static"


def test_who_names_the_prefix_as_the_root_path_gets_it_once(files: Path) -> None:
    links, again = asked(served(api("/hello", files), "asgi"), "/hello", "/links", "/hello/links")

    assert links.json()[0] == "http://outside/hello/links"
    assert again.status_code == 404


@pytest.mark.parametrize("path", ["/ws", f"{ROOT}/ws"])
def test_websockets_find_their_route_below_both(files: Path, path: str) -> None:
    server = served(api(ROOT, files), "asgi")

    async def main() -> str | bytes:
        hosting = Hosting(server, arguments={})
        await hosting.start()
        try:
            async with websockets.connect(
                f"ws://127.0.0.1:{server.port}{path}",
                additional_headers={"X-Forwarded-Prefix": "/hello"},
                proxy=None,
            ) as socket:
                return await socket.recv()
        finally:
            await hosting.stop(5)

    assert asyncio.run(main()) == f"/hello{ROOT}/ws"
