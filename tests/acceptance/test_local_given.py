"""Apps in local mode are given any Python value in place of a task's output."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest

import flyteray as flyte
from flyteray._client.local.serve import local_apps
from flyteray._client.session.session import session
from flyteray.errors import ParameterMaterializationError
from tests.acceptance.given_app import Model, app


class Fake:
    """Of a module that the app does not have."""

    def predict(self, x: int) -> int:
        return x + 40


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYTERAY_HOME", str(folder))
        patch.delenv("RAY_ADDRESS", raising=False)
        session.cache_clear()
        yield folder
        local_apps(folder).end()
    session.cache_clear()


def serve(**values: Any) -> Any:
    return flyte.with_servecontext(mode="local", parameter_values={"given-app": values}).serve(app)


def test_any_value_takes_the_place_of_a_tasks_output() -> None:
    answers = [
        httpx.get(serve(model=model, table=table).endpoint).json()
        for model, table in [(Fake(), {"a": [1]}), (Model(5), 3.5), (Mock(predict=Fake().predict), "text")]
    ]

    assert answers == [
        {"y": 42, "is_ours": False, "table": {"a": [1]}},
        {"y": 10, "is_ours": True, "table": 3.5},
        {"y": 42, "is_ours": False, "table": "text"},
    ]


def test_what_can_not_be_pickled_is_named_with_the_way_out() -> None:
    fake = Fake()
    fake.lock = threading.Lock()  # type: ignore[attr-defined]

    with pytest.raises(
        ParameterMaterializationError, match=r"it\.lock is a lock.*with app\.given\(model=\.\.\.\)"
    ):
        serve(model=fake, table=1)


def test_a_cluster_takes_outputs_of_tasks_only() -> None:
    values = {"given-app": {"model": Fake(), "table": 1}}
    planned = flyte.with_servecontext(mode="remote", dry_run=True, parameter_values=values)

    with pytest.raises(TypeError, match=r"'model' of app 'given-app' is given a Fake.*RunOutput"):
        planned.serve(app)
