"""A cluster that Ray's autoscaler makes larger and smaller: GPUs from no node at all, and nodes that are taken away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from tests import autoscaled, nodes
from tests.console import Console
from tests.nodes import Node
from tests.waiting import eventually

SCRIPT = Path(__file__).with_name("sample_autoscaled.py")
LOAD = Path(__file__).with_name("node_load.py")
PORT = 8800
TYPES = {
    "gpu": {"resources": {"CPU": 1, "GPU": 1, "accelerator_type:T4": 1}, "max_workers": 2},
    "a100": {"resources": {"CPU": 1, "GPU": 1, "accelerator_type:A100": 1}, "max_workers": 1},
    autoscaled.SOLD_OUT: {"resources": {"CPU": 1, "GPU": 1, "accelerator_type:L4": 1}, "max_workers": 1},
}

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@dataclass
class Cluster:
    machine: Node
    outside: Node
    _console: Console | None = field(default=None, init=False)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The sample script on the head, begun."""
        command = (sys.executable, str(SCRIPT), *arguments)
        return self.machine.popen(
            *command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def script(self, *words: str) -> Any:
        """What the sample script tells on the head, where it stays for what it is asked next."""
        if self._console is None:
            self._console = Console(self.machine, SCRIPT, self.environment)
        return self._console.asked(*words)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "RAY_ADDRESS": f"{self.machine.address}:{nodes.RAY_PORT}",
            "FLYTERAY_STORAGE": "/tmp/shared/storage",
            "FLYTERAY_HOST": self.machine.address,
            "FLYTERAY_AUTH": "off",
            "FLYTERAY_PORT": str(PORT),
        }

    def url(self, app: str) -> str:
        return f"http://{self.machine.address}:{PORT}/{app}"

    def asked(self, app: str) -> tuple[int, str]:
        """Status and body of an answer to somebody outside; status 0 and why there was none."""
        ended = self.outside.run("curl", "-sS", "-m", "90", "-w", "\n%{http_code}", self.url(app))
        body, _, status = ended.stdout.rpartition("\n")
        return int(status), body or ended.stderr

    def load(self, app: str) -> subprocess.Popen[str]:
        """Somebody outside who asks all the time, and has begun; see :func:`answered`."""
        # Where the machine is very busy an answer is late, which is no fault.
        command = (sys.executable, str(LOAD), "300", "20", "100", self.url(app))
        process = self.outside.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return process

    def with_gpu(self, kind: str, app: str) -> set[str]:
        """The addresses of the nodes with an accelerator of this kind."""
        return {address for address, has in self.script("state", app)["nodes"].items() if has == kind}


def answered(load: subprocess.Popen[str]) -> int:
    """The number of answers to somebody who now asks no more, all of which must be good ones."""
    answers = json.loads(load.communicate(timeout=300)[0])["answers"]
    assert [each for each in answers if each["status"] != 200] == []
    return len(answers)


def told(process: subprocess.Popen[str]) -> tuple[Any, str]:
    """What a script prints at its end, and what it says on the way."""
    printed, said = process.communicate(timeout=300)
    assert process.returncode == 0, f"{printed}\n{said}"
    return json.loads(printed.splitlines()[-1]), said


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    shared = Path(tempfile.mkdtemp(prefix="flyteray-nodes-", dir="/tmp"))
    try:
        with nodes.machines(["head", "outside"], shared) as (machine, outside):
            autoscaled.start_ray(machine, shared, TYPES, idle_s=3)
            yield Cluster(machine, outside)
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def test_what_no_type_of_node_could_have_is_an_error_at_once_that_names_them(cluster: Cluster) -> None:
    for asked in (("serve", "never"), ("run", "impossible")):
        refused = cluster.script(*asked)
        assert refused["error"] == "PlacementError"
        assert "and 8 GPUs on one node, but the cluster has a node with" in refused["text"]
        assert "and may get nodes of type gpu with " in refused["text"]
        assert "a100 with " in refused["text"]


def test_a_node_that_does_not_come_is_waited_for_as_long_as_an_app_may_take(cluster: Cluster) -> None:
    serving = cluster.start("serve-soon", "nowhere")
    eventually(lambda: "of type" in (cluster.script("state", "nowhere").get("waiting") or ""), every=0.3)
    status, why = cluster.asked("nowhere")
    late, said = told(serving)

    waits = "waits for a node of type sold-out: 0.1 CPUs and 1 GPU and accelerator L4"
    assert (status, waits in why) == (503, True), why
    assert late["error"] == "ActivationTimeoutError"
    assert f"0 of 1 replicas are ready. It {waits}" in late["text"]
    assert f"App nowhere {waits}" in said
    cluster.script("delete", "nowhere")


def test_a_task_waits_for_a_node_too(cluster: Cluster) -> None:
    assert cluster.script("wait", "hopeful").startswith(
        "waits for a node of type sold-out: 1 CPU and 1 GPU and accelerator L4; the cluster has "
    )


def test_gpus_come_when_they_are_asked_for_and_go_when_nobody_needs_them(cluster: Cluster) -> None:
    assert cluster.script("serve", "sleeper") == f"{cluster.url('sleeper')}/"
    (first,) = cluster.with_gpu("T4", "sleeper")

    load = cluster.load("sleeper")
    eventually(lambda: cluster.with_gpu("T4", "sleeper") > {first}, every=0.3)
    assert answered(load) > 50

    eventually(lambda: cluster.script("state", "sleeper")["asleep"], every=0.3)
    load = cluster.load("sleeper")  # its replicas and nodes are about to go
    assert cluster.asked("sleeper/who") == (200, ANY)
    assert answered(load)

    eventually(lambda: cluster.script("state", "sleeper")["asleep"], every=0.3)
    eventually(lambda: cluster.with_gpu("T4", "sleeper") == set(), every=0.3)
    assert cluster.asked("sleeper/who") == (200, ANY)  # it waits for a node, and is answered
    cluster.script("delete", "sleeper")


def test_a_node_that_is_taken_away_hands_its_replicas_over_first(cluster: Cluster) -> None:
    cluster.script("serve", "steady")
    (address,) = cluster.script("state", "steady")["hosts"]
    load = cluster.load("steady")
    assert cluster.script("preempt", address, "100") is True

    def others() -> list[str]:
        hosts: list[str] = cluster.script("state", "steady")["hosts"]
        return hosts if address not in hosts else []

    assert eventually(others, every=0.3)
    assert answered(load) > 50  # its WebSockets stay until then, with the replica that they are with
    eventually(lambda: address not in cluster.with_gpu("T4", "steady"), every=0.3)
    cluster.script("delete", "steady")


def test_a_task_is_told_of_its_gpu(cluster: Cluster) -> None:
    assert cluster.script("run", "devices") == "0"


def test_two_replicas_of_half_a_gpu_share_one(cluster: Cluster) -> None:
    cluster.script("serve", "halves")
    found: dict[int, Any] = {}

    def ask() -> bool:
        told = json.loads(cluster.asked("halves/")[1])
        found[told.pop("pid")] = told
        return len(found) == 2

    eventually(ask)
    (address,) = cluster.with_gpu("A100", "halves")
    assert list(found.values()) == [{"node": address, "devices": "0", "child": "0"}] * 2
    cluster.script("delete", "halves")


def test_a_program_is_told_of_the_gpu_that_it_has_a_part_of(cluster: Cluster) -> None:
    cluster.script("serve", "program")

    assert cluster.asked("program/") == (200, "0")
    cluster.script("delete", "program")
