"""An app is tested in the process of its test: its parameters are given, nothing is served."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from unittest.mock import Mock

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from flyteray.app import Parameter, RunOutput, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import File

api = FastAPI()
app = FastAPIAppEnvironment(
    name="given",
    app=api,
    parameters=[
        Parameter("model", RunOutput(type="object", task_name="train.fit")),
        Parameter("level", "debug", env_var="GIVEN_LEVEL"),
        Parameter("data", type="file"),
    ],
)


@api.get("/")
def predict() -> Any:
    return [get_parameter("model").predict(2), get_parameter("level")]


def test_handlers_find_what_they_are_given_of_any_type() -> None:
    with app.given(model=Mock(predict=lambda x: 3 * x)):
        assert TestClient(api).get("/").json() == [6, "debug"]
        assert os.environ["GIVEN_LEVEL"] == "debug"
        with app.given(model=Mock(predict=lambda x: 0), level="info"):
            assert TestClient(api).get("/").json() == [0, "info"]
        assert TestClient(api).get("/").json() == [6, "debug"]
    assert "GIVEN_LEVEL" not in os.environ
    with pytest.raises(ValueError, match=r"with app\.given"):
        get_parameter("model")


def test_a_file_is_a_path_and_processes_see_texts() -> None:
    ask = "from flyteray.app import get_parameter; print(get_parameter('data'))"
    with app.given(data=File(path="/tmp/data.csv")):
        assert get_parameter("data") == "/tmp/data.csv"
        asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "/tmp/data.csv"


def test_a_name_that_there_is_not_is_refused() -> None:
    with (
        pytest.raises(ValueError, match=r"no parameter 'modle'.*Did you mean 'model'\?"),
        app.given(modle=1),
    ):
        pass
