from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from ray.util.state import list_tasks, list_workers

import flyteray
from flyteray._cluster.local import LocalCluster
from tests.integration import sample_process_start as samples

OF_OPENTELEMETRY = """
import json, sys
import flyteray

env = flyteray.TaskEnvironment("of-opentelemetry")


@env.task
def modules() -> list[str]:
    return [name for name in sys.modules if name.startswith("opentelemetry")]


if __name__ == "__main__":
    there = flyteray.run(modules).outputs()[0]
    print(json.dumps([there, [name for name in sys.modules if name.startswith("opentelemetry")]]))
"""
pytestmark = pytest.mark.usefixtures("cluster")


def result(task: Any) -> Any:
    return flyteray.run(task).outputs()[0]


def expected_hash() -> int:
    words = [sys.executable, "-c", "print(hash('flyteray'))"]
    return int(subprocess.check_output(words, env={**os.environ, "PYTHONHASHSEED": "7"}))


def check(found: dict[str, Any]) -> None:
    assert found["variables"] == samples.VARIABLES
    assert found["exec"] == samples.VARIABLES["PASSWORD"]
    assert (found["zone"], found["on_path"], found["hash"]) == ("JST", True, expected_hash())


def test_a_task_is_started_with_its_variables_and_its_children_are_not() -> None:
    outputs = flyteray.run(samples.in_family).outputs()

    check(outputs[0])
    assert outputs[0]["threads"] == "1"
    assert outputs[1][:2] == (None, "1")


def test_calls_of_one_environment_share_processes_and_those_of_other_threads_do_not() -> None:
    first, again = flyteray.run(samples.in_plain).outputs(), flyteray.run(samples.in_plain).outputs()
    wide = flyteray.run(samples.in_wide).outputs()

    assert first[2] == again[2]
    assert wide[0] == "2"
    assert wide[1] != first[2]
    assert result(samples.in_narrow) == "1"
    assert result(samples.in_unlimited) is None
    assert result(samples.in_plain.override(resources=flyteray.Resources(cpu=2))) is None
    assert flyteray.run(samples.in_plain.override(env_vars={"PASSWORD": "$HOME"})).outputs()[0] == "$HOME"


def test_a_node_that_has_not_got_the_variables_asks_the_cluster(cluster: LocalCluster) -> None:
    kept = cluster.temp_dir / f"flyteray-variables-{os.getuid()}"
    check(result(samples.in_chosen))
    for file in kept.iterdir():
        file.unlink()

    runs = [
        flyteray.run(samples.in_family) for _ in range(2)
    ]  # at once, so that a process is started for one
    both = [run.outputs()[0] for run in runs]

    check(both[0])
    check(both[1])
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in kept.iterdir())


def test_ray_shows_nobody_the_variables(cluster: LocalCluster) -> None:
    result(samples.in_chosen)

    where: Any = {"address": cluster.dashboard_url, "detail": True, "limit": 1000}
    shown = str([list_tasks(**where), list_workers(**where)])

    assert "FLYTERAY_CODE" in shown
    assert "p$PATH@h" not in shown


def test_an_app_is_started_with_its_variables_and_with_threads_by_its_resources() -> None:
    handles = [flyteray.serve(each) for each in (samples.web, samples.web_of_two)]
    free, of_two = (httpx.get(each.endpoint, timeout=60).raise_for_status().json() for each in handles)

    check(free)
    check(of_two)
    assert (free["threads"], of_two["threads"]) == (None, "2")
    for name in ("start-web", "start-web-of-two"):
        flyteray.remote.App.delete(name)


def test_a_program_sees_its_variables_as_they_are_written_and_is_found_beside_python() -> None:
    app = flyteray.serve(samples.program)

    seen = httpx.get(app.endpoint, timeout=60).raise_for_status().json()

    assert seen == ["/usr/bin:/bin", samples.VARIABLES["PASSWORD"], None]
    assert Path(sys.executable).parent.as_posix() not in seen[0]
    flyteray.remote.App.delete("start-program")


def test_where_nobody_asks_for_traces_programs_and_workers_have_nothing_of_opentelemetry(
    tmp_path: Path,
) -> None:
    (tmp_path / "program.py").write_text(OF_OPENTELEMETRY)

    told = subprocess.check_output([sys.executable, tmp_path / "program.py"], timeout=200)

    assert json.loads(told.splitlines()[-1]) == [[], []]
