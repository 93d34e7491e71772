"""A program that is submitted as a Ray job, from a machine that reaches only the head's dashboard and ingress."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import nodes
from tests.nodes import Node, Switch
from tests.waiting import eventually

FOLDER = Path(__file__).parent
PORT = 8800
DASHBOARD = 8265
GATE = "10.88.0.1"  # where the machine outside finds these two ports
SHARED = "/tmp/shared"
PROGRAM = "/tmp/program"
JOBS = ["first", "second"]
WORD = "from beside the program"
COPY = """
import pathlib, sys
folder, program, word = sys.argv[1:]
folder = pathlib.Path(folder)
folder.mkdir()
(folder / "program.py").write_text(pathlib.Path(program).read_text())
(folder / "beside.py").write_text(f"WORD = {word!r}")
"""
STATE = """
import json, psutil, ray
from ray.util.state import list_actors, list_jobs
ray.init("auto", logging_level="ERROR", log_to_driver=False)
ours = [a for a in list_actors(detail=True, limit=1000) if a.ray_namespace.startswith("flyteray")]
print(json.dumps({
    "actors": {
        a.name: [a.job_id, a.serialized_runtime_env, list(psutil.Process(a.pid).environ())]
        for a in ours if a.state == "ALIVE"
    },
    "jobs": {job.submission_id: job.job_id for job in list_jobs(detail=True) if job.submission_id},
}))
"""
GONE = """
import time, ray
from ray.experimental.internal_kv import _internal_kv_list
ray.init("auto", logging_level="ERROR", log_to_driver=False)
while _internal_kv_list("gcs://"):
    time.sleep(0.5)
"""
OURS = """
import psutil
for process in psutil.process_iter(["pid", "cmdline"]):
    if "flyteray._control.resident" in (process.info["cmdline"] or []):
        print(process.info["pid"])
"""
END = """
import psutil, sys
for process in psutil.process_iter():
    if process.name() == sys.argv[1]:
        process.kill()
"""

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@dataclass
class Place:
    """A cluster of one machine, and a machine outside."""

    head: Node
    outside: Node

    def submit(
        self,
        *words: str,
        options: tuple[str, ...] = ("--working-dir", PROGRAM),
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Submit the program from outside; returns when it has ended."""
        address = f"http://{GATE}:{DASHBOARD}"
        command = (
            "ray",
            "job",
            "submit",
            "--address",
            address,
            *options,
            "--",
            "python",
            "program.py",
            *words,
        )
        return self.outside.run(*command, env=env, timeout_s=300)

    def told(self, *words: str, options: tuple[str, ...] = ("--working-dir", PROGRAM)) -> Any:
        """What the submitted program printed."""
        ended = self.submit(*words, options=options)
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return json.loads(next(line for line in ended.stdout.splitlines() if line.startswith("{")))

    def scripted(self, *words: str) -> Any:
        """What the program prints that somebody starts on the head."""
        ended = self.head.run(sys.executable, f"{PROGRAM}/program.py", *words, env={"RAY_ADDRESS": "auto"})
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return json.loads(ended.stdout)

    def asked(self, url: str) -> Any:
        """What somebody outside is answered; None for anything but a 200."""
        ended = self.outside.run("curl", "-fsS", "-m", "20", url)
        return json.loads(ended.stdout) if ended.returncode == 0 else None


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    shared = Path(tempfile.mkdtemp(prefix="flyteray-jobs-", dir="/tmp"))
    switches = [Switch(), Switch()]
    made: list[Node] = []
    try:
        made += [Node(1, switches[0], shared, "head"), Node(2, switches[1], None, "outside")]
        head, outside = made
        head.environment |= {
            "FLYTERAY_STORAGE": f"{SHARED}/storage",
            "FLYTERAY_HOST": "0.0.0.0",
            "FLYTERAY_PORT": str(PORT),
            "FLYTERAY_URL": f"http://{GATE}:{PORT}",
            # Packages of jobs go soon when nobody uses them.
            "RAY_RUNTIME_ENV_TEMPORARY_REFERENCE_EXPIRATION_S": "15",
            "RAY_RUNTIME_ENV_WORKING_DIR_CACHE_SIZE_GB": "0",
        }
        head.start_ray(dashboard=True)
        assert outside.run("ip", "addr", "add", f"{GATE}/32", "dev", "lo").returncode == 0
        relay = subprocess.Popen(
            [
                *("nsenter", "-t", str(outside.pid), "-n", "--", sys.executable, str(FOLDER / "relay.py")),
                *(GATE, str(head.pid), head.address, str(DASHBOARD), str(PORT)),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert relay.stdout is not None
            assert relay.stdout.readline() == "ready\n"
            for node in made:
                node.python(COPY, PROGRAM, str(FOLDER / "sample_submitted.py"), WORD)
            yield Place(head, outside)
        finally:
            relay.kill()
            relay.wait()
    finally:
        for node in made:
            node.kill()
        for switch in switches:
            switch.close()
        shutil.rmtree(shared, ignore_errors=True)


def with_variable(name: str) -> tuple[str, ...]:
    """Options of a job that has a variable, and the program, in its runtime_env."""
    return ("--runtime-env-json", json.dumps({"working_dir": PROGRAM, "env_vars": {name: "1"}}))


@pytest.fixture(scope="module")
def first(place: Place) -> list[Any]:
    """What the workers of the first two jobs tell, which start flyteray at the same time."""
    with ThreadPoolExecutor() as both:
        options = [("--submission-id", job, *with_variable("OF_THE_JOB")) for job in JOBS]
        return list(both.map(lambda each: place.told("run", options=each), options))


def test_the_first_jobs_leave_nothing_of_theirs_to_the_cluster(place: Place, first: list[Any]) -> None:
    for worker in first:
        assert worker["said"] == WORD
        assert "OF_THE_JOB" not in worker["environ"]
        assert not [each for each in worker["path"] if "working_dir_files" in each]
    state = json.loads(place.head.python(STATE))
    assert {"controller-v1", "keeper-v1-0"} <= set(state["actors"])
    assert len({job for job, *_ in state["actors"].values()}) == 1
    for name, (job, runtime_env, variables) in state["actors"].items():
        assert job not in [state["jobs"][each] for each in JOBS], name
        assert "working_dir" not in runtime_env, name
        assert "FLYTERAY_STORAGE" in variables, name
        assert "OF_THE_JOB" not in variables, name


def test_a_worker_stays_for_who_comes_next(place: Place, first: list[Any]) -> None:
    assert place.scripted("run")["pid"] in [worker["pid"] for worker in first]


def test_an_app_outlives_the_job_that_served_it_and_the_jobs_package(place: Place) -> None:
    served = place.told("serve", options=with_variable("OF_THE_JOB"))

    assert served["url"] == f"http://{GATE}:{PORT}/submitted/"
    place.head.python(GONE, timeout_s=300)
    before = place.asked(f"{served['url']}said")
    assert before["said"] == WORD
    assert "OF_THE_JOB" not in before["environ"]
    place.head.run("kill", "-9", str(before["pid"]))
    after = eventually(lambda: place.asked(f"{served['url']}said"), every=0.5)
    assert (after["said"], after["pid"] == before["pid"]) == (WORD, False)


def test_a_run_that_nobody_awaits_outlives_its_job(place: Place) -> None:
    sign = f"{SHARED}/sign"
    run = place.told("leave", sign)["run"]
    assert place.head.run("touch", sign).returncode == 0

    assert place.scripted("end", run) == {"output": "seen"}


def test_a_wrong_token_is_said_to_be_one(place: Place) -> None:
    ended = place.submit("run", env={"RAY_AUTH_TOKEN": "w" * 64})

    assert ended.returncode != 0
    assert "Invalid authentication token" in ended.stdout + ended.stderr


@pytest.mark.parametrize("address", [f"http://{GATE}:{DASHBOARD}", f"{GATE}:{DASHBOARD}"])
def test_a_script_that_is_given_a_dashboard_is_told_how_to_be_submitted(place: Place, address: str) -> None:
    program = (sys.executable, f"{PROGRAM}/program.py", "run")
    ended = place.outside.run(*program, env={"RAY_ADDRESS": address})

    assert ended.returncode != 0
    said = ended.stderr.splitlines()[-1]
    assert "dashboard" in said
    assert f"ray job submit --address http://{GATE}:{DASHBOARD} --working-dir . -- python" in said


def test_nothing_of_flyteray_stays_where_ray_has_ended(place: Place) -> None:
    running = place.head.python(OURS).split()
    assert running
    place.head.python(END, "raylet")

    eventually(lambda: not place.head.python(OURS).split(), every=1)
