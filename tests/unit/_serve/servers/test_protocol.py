"""What an application raises after its answer cuts no other request: the connection stays."""

from __future__ import annotations

import asyncio
import http.client
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from fastapi import BackgroundTasks, FastAPI

from flyteray._serve.servers import ports
from flyteray._serve.servers.asgi import AsgiServer
from flyteray._serve.servers.hosting import Hosting

app = FastAPI()


@app.get("/fails")
def fails() -> None:
    raise ValueError("of the handler")


@app.get("/fails-later")
def fails_later(work: BackgroundTasks) -> str:
    work.add_task(fails)
    return "answered"


@app.get("/well")
def well() -> str:
    return "well"


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise ValueError("in the middle")


app.mount("/breaks-off", breaks_off)


@pytest.fixture(params=["httptools", "h11"])
def connection(request: pytest.FixtureRequest) -> Iterator[http.client.HTTPConnection]:
    server = AsgiServer(
        app,  # type: ignore[arg-type]
        ports.listening_socket("127.0.0.1"),
        uvicorn.Config("unused:app", http=request.param),
    )
    hosted = Hosting(server, arguments={})
    asyncio.run(hosted.start())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    yield connection
    connection.close()
    asyncio.run(hosted.stop(1.0))


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[int, int]:
    """The status, and by which of its ports the client has asked."""
    connection.request("GET", path)
    assert connection.sock is not None
    port = connection.sock.getsockname()[1]
    response = connection.getresponse()
    response.read()
    return response.status, port


@pytest.mark.parametrize(("path", "status"), [("/fails", 500), ("/fails-later", 200)])
def test_what_fails_after_its_answer_keeps_the_connection(
    connection: http.client.HTTPConnection, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    first = ask(connection, "/well")
    with caplog.at_level(logging.ERROR):
        told = [ask(connection, path) for _ in range(5)]
    last = ask(connection, "/well")

    assert {*told} == {(status, first[1])}
    assert last == first
    [record, *_] = [each for each in caplog.records if each.exc_info]
    assert "of the handler" in str(record.exc_info and record.exc_info[1])


def test_an_answer_that_breaks_off_still_ends_its_connection(connection: http.client.HTTPConnection) -> None:
    with pytest.raises(http.client.IncompleteRead):
        ask(connection, "/breaks-off/")
