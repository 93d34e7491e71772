"""What applications of every kind read of a request that comes through the ingress: ASGI, WSGI, other languages."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.sync.client import connect

from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from flyteray._machine.ports import free_port
from flyteray._serve.servers import ports
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.hosting import Hosting
from tests.integration.raw_http import http1, http2
from tests.integration.test_ingress_believed import FORGED
from tests.waiting import eventually

ASGI_PROGRAM = """
import json

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    seen = {name.decode(): value.decode() for name, value in scope["headers"]}
    body = json.dumps({"headers": seen, "client": scope["client"][0], "scheme": scope["scheme"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""
WSGI = """
import json, sys
from wsgiref.simple_server import WSGIServer, make_server

def app(environ, start_response):
    if environ["PATH_INFO"] == "/login":
        start_response("302 Found", [("Location", "/home"), ("Set-Cookie", "a=b; Path=/")])
        return [b""]
    seen = {name[5:].lower().replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")}
    told = {"headers": seen, "script": environ["SCRIPT_NAME"], "path": environ["PATH_INFO"]}
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]

make_server("127.0.0.1", int(sys.argv[1]), app).serve_forever()
"""
NODE = """
require("http").createServer({maxHeaderSize: 131072}, (request, response) => {
  request.resume().on("end", () => {
    if (request.url === "/login") {
      response.writeHead(302, {"Location": "/home", "Set-Cookie": "a=b; Path=/"}).end();
      return;
    }
    response.end(JSON.stringify({headers: request.headers, trailers: request.trailers, url: request.url}));
  });
}).listen(Number(process.argv[1]), "127.0.0.1");
"""
PERL = r"""
use strict; use IO::Socket::INET; $| = 1;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $ARGV[0], Listen => 64, ReuseAddr => 1);
while (my $client = $server->accept) {
  my %seen; my $first = <$client>; my $length = 0; my $chunked = 0;
  next unless defined $first;
  my $read = sub { while (my $line = <$client>) { $line =~ s/\r?\n$//; last if $line eq "";
    my ($name, $value) = split /:\s*/, $line, 2; (my $env = lc $name) =~ s/[^a-z0-9]/-/g; $seen{$env} = $value; } };
  $read->();
  if (($seen{"transfer-encoding"} // "") eq "chunked") {  # trailers are headers, as in HTTP::Daemon
    while (my $size = hex(<$client>)) { read $client, my $chunk, $size + 2; }
    $read->();
  } elsif ($seen{"content-length"}) { read $client, my $body, $seen{"content-length"}; }
  my ($path) = $first =~ m{^\S+ (\S+)};
  if ($path eq "/login") { print $client "HTTP/1.0 302 Found\r\nLocation: /home\r\nSet-Cookie: a=b; Path=/\r\n\r\n"; }
  else {
    my @pairs = map { "\"$_\": \"" . ($seen{$_} =~ s/["\\]/?/gr) . "\"" } keys %seen;
    my $body = "{\"headers\": {" . join(", ", @pairs) . "}}";
    print $client "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
  }
  close $client;
}
"""


async def login(request: Request) -> RedirectResponse:
    answer = RedirectResponse("/home")
    answer.set_cookie("a", "b", path="/")
    return answer


async def told(request: Request) -> JSONResponse:
    await request.body()
    assert request.client is not None
    return JSONResponse(
        {"headers": dict(request.headers), "client": request.client.host, "url": str(request.url)[:200]}
    )


async def opened(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"headers": dict(websocket.headers), "url": str(websocket.url)})


hosted = Starlette(
    routes=[
        Route("/login", login),
        WebSocketRoute("/ws", opened),
        Route("/{rest:path}", told, methods=["GET", "POST", "OPTIONS"]),
    ]
)


def hosting(proxies: tuple[str, ...] | None = None) -> tuple[int, Callable[[], None]]:
    """The application as a replica hosts it; with ``proxies`` as local mode does."""
    sock = ports.listening_socket("127.0.0.1")
    server = AsgiServer(hosted, sock, proxies=proxies)  # type: ignore[arg-type]
    served = Hosting(server, arguments={})
    asyncio.run(served.start())
    return server.port, lambda: asyncio.run(served.stop(1.0))


def program(*words: str) -> tuple[int, Callable[[], None]]:
    """A program that is told its port as the last word."""
    port = free_port("127.0.0.1")
    process = subprocess.Popen([*words, str(port)])

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop() -> None:
        process.kill()
        process.wait()

    eventually(answers)
    return port, stop


@pytest.fixture(scope="module")
def servers(ingress: Ingress, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ingress's port by the name of the app, each another kind of server."""
    folder: Path = tmp_path_factory.mktemp("servers")
    (folder / "asgi_program.py").write_text(ASGI_PROGRAM)
    uvicorn = (sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "asgi_program:app", "--port")
    programs: dict[str, tuple[str, ...]] = {"uvicorn": uvicorn, "wsgi": (sys.executable, "-c", WSGI)}
    if node := shutil.which("node"):
        programs["node"] = (node, "-e", NODE)
    if perl := shutil.which("perl"):
        programs["perl"] = (perl, "-e", PERL)
    with ExitStack() as stack:
        found = {"asgi": hosting()} | {name: program(*words) for name, words in programs.items()}
        for _, stop in found.values():
            stack.callback(stop)
        names = list(found)
        apps: dict[str, int | None] = {name: number for number, name in enumerate(names)}
        ingress.apply(
            IngressState(apps, {apps[name] or 0: {1: Slot("127.0.0.1", found[name][0])} for name in names})
        )
        yield dict.fromkeys(names, ingress.port())


KINDS = ["asgi", "uvicorn", "wsgi", "node", "perl"]


def port_of(servers: dict[str, int], kind: str) -> int:
    if kind not in servers:
        pytest.skip(f"{kind} is not here")
    return servers[kind]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_no_application_reads_what_a_client_says_in_the_ingresss_name(
    servers: dict[str, int], kind: str, version: int
) -> None:
    port = port_of(servers, kind)
    headers = [(name.lower(), "forged") for name in FORGED if name.lower() != "transfer_encoding"]
    trailers = [(name.lower(), "forged") for name in FORGED if "content" not in name.lower()]
    large = (
        15_000 if version == 2 or kind == "wsgi" else 200_000
    )  # one frame; and this server reads none of it
    for body in (b"", b"abc", b"x" * large):
        if version == 2:
            answer = http2(port, headers, body, trailers, method="POST", path=f"/{kind}/", authority="h")
        else:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
            chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
            after = "".join(f"{name}: {value}\r\n" for name, value in trailers).encode()
            head = f"POST /{kind}/ HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n".encode()
            answer = http1(port, head + lines + b"\r\n" + chunk + b"0\r\n" + after + b"\r\n")
        assert answer.status == 200, answer
        assert "forged" not in answer.text
        seen: Any = json.loads(answer.body)
        assert seen["headers"]["x-forwarded-for"] == "127.0.0.1"
        assert seen["headers"]["x-forwarded-host"] == "h"
        assert "x-flyteray-user" not in seen["headers"]
        assert seen.get("client", "127.0.0.1") == "127.0.0.1"
        assert seen.get("script", "") == ""


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("kind", ["asgi", "wsgi", "node", "perl"])
def test_an_application_that_does_not_know_its_path_stays_below_it(
    servers: dict[str, int], kind: str, version: int
) -> None:
    port = port_of(servers, kind)
    if version == 1:
        answer = http1(port, f"GET /{kind}/login HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        location, cookie = answer.header("location"), answer.header("set-cookie") or ""
    else:
        head = http2(port, [], path=f"/{kind}/login", authority="h").head
        location = f"/{kind}/home" if f"/{kind}/home" in head else None
        cookie = head

    assert location == f"/{kind}/home"
    assert f"Path=/{kind}" in cookie


@pytest.mark.parametrize("kind", ["asgi", "node"])
@pytest.mark.parametrize("version", [1, 2])
def test_large_heads_reach_applications(servers: dict[str, int], kind: str, version: int) -> None:
    port = port_of(servers, kind)
    large = "x" * (64 << 10)
    for path, headers in (
        (f"/{kind}/", [("cookie", f"a={large}")]),
        (f"/{kind}/", [(f"x-{number}", "x" * 200) for number in range(256)]),
        (f"/{kind}/{large}", []),
        (f"/{kind}/?q={large}", []),
    ):
        if version == 2:
            answer = http2(port, headers, path=path)
        else:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
            answer = http1(port, f"GET {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())
        assert answer.status == 200, (path[:30], answer.text[:200])


def test_a_websocket_is_opened_with_a_large_head_and_knows_its_url(servers: dict[str, int]) -> None:
    url = f"ws://127.0.0.1:{servers['asgi']}/asgi/ws?q={'x' * 20_000}"
    headers = {"Cookie": "x" * (30 << 10)} | {f"X-{number}": "x" for number in range(200)}

    with connect(url, additional_headers=headers, proxy=None) as websocket:
        seen = json.loads(websocket.recv())

    assert seen["url"] == url
    assert seen["headers"]["cookie"] == headers["Cookie"]


def test_in_local_mode_nobody_speaks_for_an_ingress_and_heads_may_be_as_large() -> None:
    port, stop = hosting(())
    try:
        forged = "".join(
            f"{name}: forged\r\n" for name in FORGED if name.lower().startswith(("x-f", "x_f", "forw"))
        )
        head = f"POST /x HTTP/1.1\r\nHost: h\r\n{forged}Cookie: {'x' * (64 << 10)}\r\n"
        head += "".join(f"X-{number}: x\r\n" for number in range(256))
        after = "0\r\nX-Flyteray-User: forged\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        answer = http1(port, f"{head}Transfer-Encoding: chunked\r\n\r\n{after}".encode())
        long = http1(port, f"GET /{'x' * (64 << 10)}?q={'y' * 1000} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    finally:
        stop()

    seen: Any = json.loads(answer.body)
    assert (seen["client"], seen["url"]) == ("127.0.0.1", "http://h/x")
    assert "forged" not in answer.text
    assert len(seen["headers"]) >= 258
    assert long.status == 200


@pytest.mark.parametrize(
    ("says", "client", "url"),
    [
        ("X-Forwarded-For: 6.6.6.6, 9.9.9.9, 127.0.0.2", "9.9.9.9", "http://h/x"),
        (
            "X-Forwarded-Proto: https\r\nX-Forwarded-Host: ml.example.com",
            "127.0.0.1",
            "https://ml.example.com/x",
        ),
    ],
)
def test_local_mode_believes_the_proxies_that_are_trusted(says: str, client: str, url: str) -> None:
    port, stop = hosting(("127.0.0.0/8",))
    try:
        answer = http1(
            port, f"GET /x HTTP/1.1\r\nHost: h\r\n{says}\r\nX-Flyteray-User: forged\r\n\r\n".encode()
        )
    finally:
        stop()

    seen: Any = json.loads(answer.body)
    assert (seen["client"], seen["url"]) == (client, url)
    assert "forged" not in answer.text
