"""What a program says first, on a cluster: its tasks and apps are told it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from flyteray._cluster.local import LocalCluster
from flyteray.remote import App

PROGRAM = """
import logging
import urllib.request

import flyteray as flyte
from fastapi import FastAPI
from flyteray.app.extras import FastAPIAppEnvironment

env = flyte.TaskEnvironment(name="whose")
api = FastAPI()
web = FastAPIAppEnvironment(name="whose-app", app=api)
flyte.init_from_config()


class Kept(logging.Handler):
    def emit(self, record):
        self.record = record


@env.task
def child() -> list[str]:
    kept = Kept()
    flyte.logger.addHandler(kept)
    flyte.logger.info("hello")
    return [flyte.current_project(), flyte.current_domain(), kept.record.run_name, kept.record.action_name]


@env.task
def parent() -> list[str]:
    assert flyte.is_control_plane_available()
    flyte.init_in_cluster()
    return [flyte.ctx().action.org, *child()]


@api.get("/")
def whose() -> list[str]:
    return [flyte.current_project(), flyte.app.ctx().domain]


if __name__ == "__main__":
    run = flyte.with_runcontext(name="whose-run").run(parent)
    print(*run.outputs()[0])
    print(urllib.request.urlopen(flyte.serve(web).endpoint).read().decode())
"""


def test_tasks_and_apps_are_told_whose_they_are_and_records_tell_the_action(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text("task: {org: acme, project: ads, domain: dev}")
    (tmp_path / "program.py").write_text(PROGRAM)

    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )

    told = [r"acme ads dev whose-run \w{16}", r'\["ads","dev"\]']
    assert len(done.stdout.splitlines()) == 2, done.stderr
    assert all(map(re.fullmatch, told, done.stdout.splitlines())), done.stdout
    App.delete("whose-app")
