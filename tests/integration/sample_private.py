"""A task and an app that leave files behind, in storage and in their working folders."""

from __future__ import annotations

import os
from pathlib import Path

from fastapi import FastAPI

from flyteray import TaskEnvironment, ctx
from flyteray.app import Parameter, RunOutput
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import Dir, File

env = TaskEnvironment("private")


def mode_of_what_is_written() -> str:
    """That of a file that user code writes to its working folder."""
    path = Path("mine.txt")
    path.write_text("mine")
    return f"{path.stat().st_mode & 0o777:o}"


@env.task
async def written() -> tuple[File, Dir, str]:
    mode = mode_of_what_is_written()
    os.makedirs("folder/of/mine", exist_ok=True)
    data = ctx().raw_data_path
    assert data is not None
    os.makedirs(f"{data.path}/by-hand")  # as libraries do that are given a path
    Path("folder/of/mine/x.txt").write_text("x")
    return await File.from_local("mine.txt"), await Dir.from_local("folder"), mode


api = FastAPI()


@api.get("/")
def written_by_app() -> str:
    return mode_of_what_is_written()


web = FastAPIAppEnvironment(
    "private-web",
    app=api,
    requires_auth=False,
    parameters=[
        Parameter(name="file", value=RunOutput(task_name="private.written", type="file"), download=True)
    ],
)
