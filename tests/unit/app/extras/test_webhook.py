"""What a webhook decides by itself; what it does on a cluster is in tests/integration."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request

from flyteray.app.extras import FastAPIPassthroughAuthMiddleware, FlyteWebhookAppEnvironment
from flyteray.app.extras._webhook.access import Access
from flyteray.remote import auth_metadata, current_auth_metadata

BEARER = {"authorization": "Bearer secret"}


def ask(app: Any, method: str, path: str, **options: Any) -> httpx.Response:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(app, root_path=options.pop("root_path", ""))
        async with httpx.AsyncClient(transport=transport, base_url="http://webhook") as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


def webhook(**options: Any) -> FlyteWebhookAppEnvironment:
    return FlyteWebhookAppEnvironment(name="hook", **options)


def routes(**options: Any) -> set[str]:
    return {
        f"{method.upper()} {path}"
        for path, operations in webhook(**options).app.openapi()["paths"].items()
        for method in operations
    }


def test_a_webhook_has_all_routes_or_those_of_groups_or_some() -> None:
    core = {"GET /health", "GET /me"}

    assert routes() == routes(endpoint_groups=["all"])
    assert core < routes()
    assert routes(endpoint_groups=["core"]) == core
    assert routes(endpoints=["get_run_io", "call_app"]) == {"GET /run/{name}/io", "POST /app/{name}/call"}


def test_a_webhook_is_a_fastapi_app_with_a_title() -> None:
    assert (webhook().kind, webhook().type, webhook().app.title) == ("asgi", "FlyteWebhookApp", "hook")
    assert webhook(title="Mine").clone_with("twin").app.title == "Mine"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"endpoints": ["me"], "endpoint_groups": ["core"]}, ValueError, "not both"),
        ({"endpoints": ["nope"]}, ValueError, "no 'nope' for endpoints; there are: abort_run"),
        ({"endpoint_groups": ["nope"]}, ValueError, "no 'nope' for endpoint_groups; there are: all"),
        ({"endpoints": ["prefetch_hf_model"]}, ValueError, "RunOutput"),
        ({"endpoints": "me"}, TypeError, r"write \['me'\]"),
        ({"task_allowlist": "t"}, TypeError, r"write \['t'\]"),
        ({"app_allowlist": "t"}, TypeError, r"write \['t'\]"),
        ({"trigger_allowlist": "t"}, TypeError, r"write \['t'\]"),
    ],
    ids=str,
)
def test_what_a_webhook_cannot_do_is_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        webhook(**options)


def test_only_health_and_documentation_are_open() -> None:
    app = webhook().app

    assert ask(app, "GET", "/health").json() == {"status": "healthy"}
    assert [ask(app, "GET", path).status_code for path in ("/docs", "/openapi.json", "/redoc")] == [200] * 3
    refused = ask(app, "GET", "/me")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.json() == {"detail": "Authentication credentials required"}
    assert ask(app, "GET", "/me", headers=BEARER).json()["name"]
    assert ask(app, "GET", "/me", headers={"cookie": "session=1"}).status_code == 200


def test_a_webhook_does_nothing_to_itself_nor_to_apps_that_are_not_listed() -> None:
    app = webhook(app_allowlist=["other"]).app

    for verb in ("activate", "deactivate", "call?path=/"):
        own = ask(app, "POST", f"/app/hook/{verb}", headers=BEARER)
        assert (own.status_code, own.json()["detail"]) == (400, f"Cannot {verb.partition('?')[0]} self")
        assert ask(app, "POST", f"/app/secret/{verb}", headers=BEARER).status_code == 403
    assert ask(app, "GET", "/app/secret", headers=BEARER).json() == {
        "detail": "App secret is not in the allowlist"
    }


@pytest.mark.parametrize("path", ["/../secret", "/a/%2e%2e/secret", "..", "/a/..?x=1"])
def test_a_call_does_not_leave_the_app_it_is_allowed(path: str) -> None:
    app = webhook(app_allowlist=["other"]).app

    refused = ask(app, "POST", "/app/other/call", params={"path": path}, headers=BEARER)

    assert (refused.status_code, "leaves the app" in refused.text) == (400, True)


def test_tasks_that_are_not_listed_are_neither_run_nor_told_of() -> None:
    app = webhook(task_allowlist=["p/t"]).app

    run = ask(app, "POST", "/run-task/d/p/x", headers=BEARER, json={})
    assert (run.status_code, run.json()["detail"]) == (403, "Task d/p/x is not in the allowlist")
    assert ask(app, "GET", "/task/d/q/t", headers=BEARER).status_code == 403


def test_triggers_that_are_not_listed_are_not_switched() -> None:
    app = webhook(trigger_allowlist=["env.t/nightly", "hourly"]).app

    for path in ("env.t/daily", "env.u/nightly"):
        refused = ask(app, "POST", f"/trigger/{path}/activate", headers=BEARER)
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            f"Trigger {path} is not in the allowlist",
        )
    Access("hook", triggers=["env.t/nightly", "hourly"]).check_trigger("env.t", "nightly")
    Access("hook", triggers=["env.t/nightly", "hourly"]).check_trigger("env.u", "hourly")


def test_a_call_by_an_unknown_method_is_refused() -> None:
    refused = ask(webhook().app, "POST", "/app/other/call?path=/&method=TRACE", headers=BEARER)

    assert (refused.status_code, "use one of DELETE, GET" in refused.text) == (400, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"json": {"apt_packages": ["perl"]}}, "can't be installed by Ray"),
        ({"params": {"python_version": "2.7"}, "json": {}}, "none can run '2.7'"),
        ({"params": {"base_image": "r/i:1"}, "json": {"pip_packages": ["x"]}}, "name"),
    ],
    ids=str,
)
def test_an_image_that_cannot_be_built_is_refused(options: dict[str, Any], message: str) -> None:
    refused = ask(webhook().app, "POST", "/build-image", headers=BEARER, **options)

    assert (refused.status_code, message in refused.text) == (400, True)


@pytest.mark.parametrize("form", ["score", "shop/score", "production/shop/score"])
def test_tasks_are_listed_by_name_project_and_domain(form: str) -> None:
    access = Access("hook", tasks=["else", form])

    access.check_task("production", "shop", "score")
    Access("hook").check_task("any", "thing", "goes")
    with pytest.raises(HTTPException) as refused:
        access.check_task("production", "shop", "other")
    assert refused.value.status_code == 403


def api(**options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(FastAPIPassthroughAuthMiddleware, **options)

    @app.get("/{path}")
    async def seen(path: str) -> list[tuple[str, str]]:
        await asyncio.sleep(0)
        return list(current_auth_metadata())

    return app


def test_each_request_passes_on_its_own_credentials() -> None:
    app = api()

    async def both() -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
            asked = [client.get("/x", headers={"authorization": str(number)}) for number in range(20)]
            return [answer.json() for answer in await asyncio.gather(*asked)]

    assert asyncio.run(both()) == [[["authorization", str(number)]] for number in range(20)]
    assert current_auth_metadata() == ()
    cookie = ask(app, "GET", "/x", headers={**BEARER, "cookie": "a=b"}).json()
    assert cookie == [["authorization", "Bearer secret"], ["cookie", "a=b"]]


def test_other_headers_can_be_the_credentials(caplog: pytest.LogCaptureFixture) -> None:
    def broken(request: Request) -> None:
        raise RuntimeError("broken")

    extractors = [broken, FastAPIPassthroughAuthMiddleware.extract_custom_header("X-Key")]
    app = api(header_extractors=extractors)

    assert ask(app, "GET", "/x", headers={"x-key": "k", **BEARER}).json() == [["x-key", "k"]]
    assert "extractor" in caplog.text
    assert ask(app, "GET", "/x", headers=BEARER).status_code == 401


def test_excluded_paths_are_those_the_application_sees() -> None:
    app = api(excluded_paths={"/open"})

    assert ask(app, "GET", "/open").json() == []
    assert ask(app, "GET", "/open/").status_code == 401
    assert ask(app, "GET", "/prefix/open", root_path="/prefix").status_code == 200


def test_metadata_is_of_the_innermost_block() -> None:
    with auth_metadata(("a", "1")):
        with auth_metadata(("b", "2"), ("c", "3")):
            assert current_auth_metadata() == (("b", "2"), ("c", "3"))
        assert current_auth_metadata() == (("a", "1"),)
    assert current_auth_metadata() == ()


def test_metadata_is_pairs_and_its_error_shows_no_secret() -> None:
    with pytest.raises(ValueError, match="at least one pair"), auth_metadata():
        pass
    with pytest.raises(TypeError, match="a name and a value") as wrong, auth_metadata("secret"):  # type: ignore[arg-type]
        pass
    assert "secret" not in str(wrong.value)
