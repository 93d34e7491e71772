"""The handle of an app on a cluster, and what serving with a context gives the app."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

import flyteray as flyte
from flyteray.app import Parameter, ctx, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.errors import ActivationTimeoutError
from flyteray.remote import App, AppPhase, Key
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

api, dawdling_api = FastAPI(), FastAPI()
env = FastAPIAppEnvironment(name="handled", app=api, parameters=[Parameter("greeting")])
dawdling = FastAPIAppEnvironment(name="dawdling", app=dawdling_api)


@api.get("/")
def facts() -> dict[str, Any]:
    print(f"greeted with {get_parameter('greeting')}", flush=True)
    return {
        "greeting": get_parameter("greeting"),
        "variable": os.environ.get("SAID"),
        "context": [ctx().mode, ctx().project, ctx().domain, ctx().raw_data_path],
    }


@dawdling.on_startup
async def dawdle() -> None:
    await asyncio.sleep(600)


def context(**options: Any) -> Any:
    return flyte.with_servecontext(parameter_values={"handled": {"greeting": "hi"}}, **options)


@pytest.fixture(scope="module")
def app(cluster: Any) -> Iterator[App]:
    yield context(
        version="v1", env_vars={"SAID": "yes"}, project="p", domain="d", raw_data_path="s3://bucket/raw"
    ).serve(env)
    App.delete("handled")
    App.delete("handled")  # deleting what is gone is fine


def test_what_is_said_when_serving_reaches_the_replicas(app: App) -> None:
    answer = httpx.get(f"{app.endpoint}/", timeout=60).json()

    assert answer["greeting"] == "hi"
    assert answer["variable"] == "yes"
    assert answer["context"] == ["remote", "p", "d", "s3://bucket/raw"]
    assert app.info.version == "handled.v1"


def test_a_name_of_a_version_stands_for_one_content_for_ever(app: App) -> None:
    with pytest.raises(ValueError, match="'v1'"):
        context(version="v1").serve(env)
    assert httpx.get(f"{app.endpoint}/", timeout=60).json()["variable"] == "yes"


def test_a_handle_tells_what_is_observed(app: App) -> None:
    assert isinstance(app, flyte.AppHandle)
    assert (app.deployment_status, app.desired_state) == (AppPhase.ACTIVE, "active")
    assert app.watch().name == "handled"
    assert json.loads(app.to_json()) == app.to_dict()
    assert app.to_dict()["phase"] == "active"
    assert "handled" in [
        each.name for each in App.listall(in_status=("ACTIVE", "stopped"), sort_by="created_at")
    ]
    assert "handled" not in [each.name for each in App.listall(in_status="DEPLOYMENT_STATUS_FAILED")]
    assert len(App.listall(limit=1)) == 1
    with pytest.warns(UserWarning, match="project has no meaning"):
        assert App.get("handled", project="p").name == "handled"


def test_metrics_are_told_to_who_has_a_key(app: App) -> None:
    url = f"{app.endpoint.rpartition('/')[0]}/-/metrics"
    made = Key.create("prometheus", role="read")
    httpx.get(f"{app.endpoint}/", timeout=60).raise_for_status()

    def requests() -> float | None:
        answer = httpx.get(url, headers={"Authorization": f"Bearer {made.value}"}, timeout=60)
        told = {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }
        of = ("app", "handled"), ("version", "v1")
        assert told["flyteray_app_replicas", of[0], of[1]] == 1
        return told["flyteray_app_requests_total", of[0], ("status", "2xx"), of[1]]

    assert eventually(requests) >= 1
    assert httpx.get(url, timeout=60).status_code == 401
    Key.delete("prometheus")


def test_a_browser_that_has_signed_in_with_a_key_is_let_in_as_long_as_there_is_that_key(app: App) -> None:
    made = Key.create("of-a-browser", role="read")
    with httpx.Client(
        base_url=app.endpoint.rpartition("/")[0], headers={"Accept": "text/html"}, timeout=60
    ) as browser:
        led = browser.get("/-/metrics")
        signed_in = browser.post(led.headers["location"], data={"key": made.value})
        told = browser.get(signed_in.headers["location"])
        Key.delete("of-a-browser")
        again = browser.get("/-/metrics")

    assert (led.status_code, signed_in.status_code, told.status_code) == (302, 303, 200)
    assert "flyteray_app_replicas" in told.text
    assert made.value not in str(dict(browser.cookies))
    assert (again.status_code, again.headers["location"]) == (302, led.headers["location"])


def test_requests_are_told_of_as_they_end(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    httpx.get(f"{app.endpoint}/?key=hidden", headers={"X-Request-Id": "told-of"}, timeout=60)

    def entry() -> dict[str, Any] | None:
        return next((each for each in app.access_log() if each["request_id"] == "told-of"), None)

    found = eventually(entry)
    assert (found["app"], found["version"], found["path"], found["status"]) == (
        "handled",
        "v1",
        "/handled/",
        200,
    )
    assert found["replica"] in [replica.name for replica in app.info.replica_list]
    assert [each["request_id"] for each in app.access_log(max_lines=1)] == ["told-of"]
    app.show_access_log(1, follow=False)
    assert json.loads(capsys.readouterr().out) == found

    following = threading.Thread(target=app.show_access_log, daemon=True)

    def has_shown() -> bool:
        httpx.get(f"{app.endpoint}/", headers={"X-Request-Id": "while-followed"}, timeout=60)
        return "while-followed" in capsys.readouterr().out

    with app.ephemeral_ctx_sync():
        following.start()
        eventually(has_shown, every=0.5)
    following.join(60)
    assert not following.is_alive()


def test_logs_are_shown_until_the_app_is_stopped(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no replica 'none-such'"):
        app.show_logs(replica_name="none-such")
    reader = threading.Thread(target=app.show_logs, daemon=True)
    shown = ""

    def has_shown() -> bool:
        nonlocal shown
        httpx.get(f"{app.endpoint}/", timeout=60)
        shown += capsys.readouterr().out
        return "greeted with hi" in shown

    with app.ephemeral_ctx_sync():
        reader.start()
        eventually(has_shown, every=0.5)
    assert app.is_deactivated()
    reader.join(60)
    assert not reader.is_alive()
    assert ":actor_name:" not in shown


def test_a_start_out_of_time_fails_and_says_what_it_waited_for() -> None:
    with pytest.raises(
        ActivationTimeoutError, match=r"in dawdle|import of its code|failed to become active within"
    ):
        flyte.with_servecontext(activate_timeout=1).serve(dawdling)
    App.delete("dawdling")
