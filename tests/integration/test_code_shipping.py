from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.remote import App

pytestmark = pytest.mark.usefixtures("cluster")

APP = """
import os
from pathlib import Path

import cs_near
from fastapi import FastAPI
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
env = FastAPIAppEnvironment("shipped", app=api, include=("cs_data",))

@api.get("/")
def about():
    beside = Path(__file__).parent / "cs_data/x.txt"
    read = open("cs_data/x.txt").read()
    return {"pid": os.getpid(), "near": cs_near.VALUE, "read": read, "beside": beside.read_text()}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    """A project on sys.path whose modules are forgotten afterwards."""
    (tmp_path / "cs_app.py").write_text(APP)
    (tmp_path / "cs_near.py").write_text("VALUE = 'old'\n")
    (tmp_path / "cs_far.py").write_text("VALUE = 1\n")
    (tmp_path / "cs_data").mkdir()
    (tmp_path / "cs_data/x.txt").write_text("included")
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("cs_")]:
        del sys.modules[name]


def test_only_a_change_of_what_an_app_imports_or_includes_makes_a_new_version(project: Path) -> None:
    env = importlib.import_module("cs_app").env
    app = flyte.serve(env)
    try:
        before = httpx.get(f"{app.endpoint}/", timeout=60).json()
        assert (before["near"], before["read"], before["beside"]) == ("old", "included", "included")

        (project / "cs_far.py").write_text("VALUE = 1  # a comment\n")
        app = flyte.serve(env)
        assert httpx.get(f"{app.endpoint}/", timeout=60).json() == before

        (project / "cs_near.py").write_text("VALUE = 'new'\n")
        app = flyte.serve(env)
        after = httpx.get(f"{app.endpoint}/", timeout=60).json()
        assert after == before | {"near": "new", "pid": after["pid"]}
        assert after["pid"] != before["pid"]
    finally:
        App.delete("shipped")


def test_what_is_defined_inside_a_function_runs_and_serves_and_each_task_has_a_folder_to_write_in() -> None:
    env = flyte.TaskEnvironment("nested")

    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    @env.task
    def place(x: int) -> Any:  # an annotation here can't name a class of this function
        return Point(x)

    @env.task
    def child(x: int) -> list[str]:
        there = sorted(os.listdir("."))
        Path(f"written-{x}").mkdir()
        return [*there, str(x)]

    @env.task
    async def parent() -> dict[str, Any]:
        made = await place.aio(7)
        assert type(made) is Point
        return {"found": [await child.override(retries=1).aio(x) for x in (1, 2)], "made": made}

    answer = flyte.run(parent).outputs()[0]
    first, second = answer["found"]
    assert type(answer["made"]) is Point
    assert answer["made"].x == 7
    assert (first[-1], second[-1]) == ("1", "2")
    assert first[:-1] == second[:-1]  # the second does not find what the first has left
    assert "tests" in first

    api = FastAPI()

    @api.get("/")
    async def ask() -> list[str]:
        run = await flyte.run.aio(child, 3)
        outputs = await run.outputs.aio()
        return list(outputs[0])

    app = flyte.serve(FastAPIAppEnvironment("nested", app=api))
    try:
        assert httpx.get(f"{app.endpoint}/", timeout=60).json()[-1] == "3"
    finally:
        App.delete("nested")
