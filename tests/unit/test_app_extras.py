from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette

from flyteray.app import Link
from flyteray.app.extras import ASGIAppEnvironment, FastAPIAppEnvironment


def test_any_asgi_application_is_served_in_process() -> None:
    api = Starlette()
    app = ASGIAppEnvironment(name="api", app=api)

    assert (app.kind, app.type, app.asgi_app()) == ("asgi", "ASGI", api)


def test_what_cannot_be_called_is_no_application() -> None:
    with pytest.raises(TypeError, match="'api': app must be an ASGI application, got 3"):
        ASGIAppEnvironment(name="api", app=3)


@pytest.mark.parametrize("words", [{"command": "serve"}, {"args": ["serve"]}], ids=str)
def test_a_command_beside_an_application_would_never_run(words: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="would never run"):
        ASGIAppEnvironment(name="api", app=Starlette(), **words)


def test_a_fastapi_app_links_to_its_documentation_first() -> None:
    mine = Link("https://example.com", "Mine")
    app = FastAPIAppEnvironment(name="api", app=FastAPI(), links=[mine])
    docs = Link("/docs", "FastAPI OpenAPI Docs", is_relative=True)

    assert app.links == app.clone_with("twin").links == [docs, mine]
    assert FastAPIAppEnvironment(name="api", app=FastAPI(docs_url=None)).links == []
    assert FastAPIAppEnvironment(name="api", app=FastAPI(docs_url="/d")).links[0].path == "/d"
