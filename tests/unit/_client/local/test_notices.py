from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.notify import NamedDelivery, Webhook
from tests.receivers import Received, http_server

env = flyte.TaskEnvironment("noticed")


@env.task
def half(x: int) -> float:
    return 1 / x


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own_session: None) -> Iterator[Received]:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    with http_server() as received:
        yield received


def run(server: Received, x: int) -> None:
    hooks = (
        Webhook(on_phase="failed", url=server.url, body={"failed": "{{.Error}}"}),
        Webhook(on_phase="succeeded", url=server.url, body={"well": "{{.Run.Name}} of {{.Run.Task}}"}),
        NamedDelivery(on_phase="failed", name="oncall"),
    )
    flyte.with_runcontext("local", name="mine", notifications=hooks).run(half, x)


def sent() -> None:
    for thread in threading.enumerate():
        if thread.name == "flyteray-notify":
            thread.join()


def test_a_local_run_that_ends_well_is_told(server: Received) -> None:
    run(server, 2)

    sent()
    assert server.bodies == [{"well": "mine of noticed.half"}]


def test_one_that_fails_is_told_and_what_can_not_be_sent_fails_nothing(
    server: Received, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_ONCALL", f"{server.url}/oncall\n")
    server.answers = [503]
    with pytest.raises(flyte.errors.RuntimeUserError, match="division"):
        run(server, 0)

    sent()
    assert len(server.requests) == 3  # one of both again
    assert {request["path"] for request in server.requests} == {"/", "/oncall"}


def test_nowhere_to_send_to_is_logged(server: Received, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(flyte.errors.RuntimeUserError):
        run(server, 0)

    sent()
    assert "NamedDelivery of run mine was not sent" in caplog.text
