"""Test tasks and apps without a cluster: this file tests `live_model.py`.

    python -m pytest examples/test_live_model.py

Outside a run a task is its function. An app is tested through a test client, or served beside the test; in both any
value takes the place of what a task would return. `pip install . --group test` installs pytest.
"""

from __future__ import annotations

import httpx
import pytest
from fastapi.testclient import TestClient
from live_model import api, app, take, train

import flyteray as flyte

MODEL = {"rows": 3, "accuracy": 0.75}  # what the app says of it needs no more


def test_a_task_is_its_function() -> None:
    assert train(500)["rows"] == 500


def test_a_run_checks_inputs_tries_again_and_calls_children() -> None:
    run = flyte.with_runcontext(mode="local").run(train, rows=500)

    assert run.outputs()[0]["accuracy"] > 0.5


def test_a_bad_model_is_refused() -> None:
    with pytest.raises(ValueError, match="right in 20% of cases"):
        take({"accuracy": 0.2})


def test_the_app_in_this_process() -> None:
    with app.given(model=MODEL):
        assert TestClient(api).get("/model").json() == MODEL


def test_the_app_as_it_is_served() -> None:
    context = flyte.with_servecontext(mode="local", parameter_values={"live-digits": {"model": MODEL}})
    with context.serve(app).ephemeral_ctx_sync() as served:
        assert httpx.get(f"{served.endpoint}/model").json() == MODEL
