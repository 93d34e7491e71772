"""What Kubernetes asks of the pods of ``clusters/kuberay``, asked of machines in each state that a pod can be in.

The probes, ports, variables and the command are those of the manifest; ``flyteray export kuberay`` writes the same.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import kuberay, nodes
from tests.integration.cluster_of_machines import FOLDER
from tests.nodes import RAY_PORT, Node
from tests.waiting import eventually

# What KubeRay's own `ray start` says, and what it tells the processes of a pod.
AGENT = ["--dashboard-agent-listen-port=52365"]
DOCUMENTS = list(yaml.safe_load_all((kuberay.ROOT / "clusters/kuberay/raycluster.yaml").read_text()))
CLUSTER = kuberay.of_kind(DOCUMENTS, "RayCluster")

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@dataclass
class Pod:
    """A machine that stands for a pod of a group; ``outside`` asks as the kubelet does, at the pod's address."""

    node: Node
    outside: Node
    group: dict[str, Any]
    labels: dict[str, str]

    @property
    def container(self) -> dict[str, Any]:
        [container] = self.group["template"]["spec"]["containers"]
        return dict(container)

    @property
    def variables(self) -> dict[str, str]:
        told = {each["name"]: each["value"] for each in self.container["env"]}
        kubernetes = {
            "RAY_ADDRESS": f"10.77.0.1:{RAY_PORT}",
            "RAY_NODE_TYPE_NAME": self.labels["ray.io/group"],
        }
        return {**told, **kubernetes, "FLYTERAY_STORAGE": "/tmp/shared/storage", "FLYTERAY_AUTH": "off"}

    def start_ray(self, head: Node | None = None) -> None:
        cpus = int(self.group["resources"]["CPU"])
        self.node.start_ray(head, cpus, AGENT, env=self.variables)

    def replace(self, known: Node) -> None:
        """Have another pod in its place, with nothing of what it had."""
        self.node.kill()
        self.node = self.node.again()
        for other in (self.outside, known):
            self.node.know(other)

    def start_flyteray(self) -> int:
        """The exit code of what Kubernetes does after the container has started."""
        command = self.container["lifecycle"]["postStart"]["exec"]["command"]
        return self.node.run(*command, env=self.variables).returncode

    def refused(self) -> set[str]:
        """The probes that fail three times, one after another: one answer may come late, and Kubernetes bears six."""
        return {name for name in self.container if name.endswith("Probe") and not self._is_well(name)}

    def listens(self, port: str | int) -> bool:
        """Whether a connection to a port is taken; to one of the container's by its name as well."""
        known = {each["name"]: each["containerPort"] for each in self.container.get("ports", [])}
        connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
        asked = (self.node.address, str(known.get(port, port)))
        return self.outside.run(sys.executable, "-c", connect, *asked).returncode == 0

    def _is_well(self, name: str) -> bool:
        probe = self.container[name]
        if "tcpSocket" in probe:
            return self.listens(probe["tcpSocket"]["port"])
        asked = probe["httpGet"]
        url = f"http://{self.node.address}:{asked['port']}{asked['path']}"
        command = ("curl", "-sf", "-m", str(probe.get("timeoutSeconds", 1)), url)
        return any(self.outside.run(*command).returncode == 0 for _ in range(3))


class Cluster:
    """A head and a worker of the first group, and a machine outside."""

    def __init__(self, head: Node, worker: Node, outside: Node) -> None:
        spec = CLUSTER["spec"]
        common = {"ray.io/cluster": CLUSTER["metadata"]["name"]}
        self.head = Pod(
            head,
            outside,
            spec["headGroupSpec"],
            {**common, "ray.io/node-type": "head", "ray.io/group": "headgroup"},
        )
        group = spec["workerGroupSpecs"][0]
        labels = {"ray.io/node-type": "worker", "ray.io/group": group["groupName"]}
        self.worker = Pod(worker, outside, group, {**common, **labels})

    @property
    def refused(self) -> list[set[str]]:
        """The probes of each pod that fail. KubeRay calls the cluster ready when there are none."""
        return [pod.refused() for pod in (self.head, self.worker)]

    def led_to(self) -> list[Pod]:
        """The pods that the Service leads to, as far as their probes let it."""
        selector = kuberay.of_kind(DOCUMENTS, "Service")["spec"]["selector"].items()
        return [
            pod for pod in (self.head, self.worker) if selector <= pod.labels.items() and not pod.refused()
        ]

    def asked(self, path: str) -> str:
        """The status of an answer to who asks the Service."""
        [pod] = self.led_to()
        [port] = kuberay.of_kind(DOCUMENTS, "Service")["spec"]["ports"]
        number = {each["name"]: each["containerPort"] for each in pod.container["ports"]}[port["targetPort"]]
        url = f"http://{pod.node.address}:{number}{path}"
        return pod.outside.run("curl", "-s", "-m", "20", "-o", "/dev/null", "-w", "%{http_code}", url).stdout

    def told(self, verb: str) -> str:
        script = (sys.executable, str(FOLDER / "sample_odd_nodes.py"), verb, "1")
        ended = self.head.node.run(*script, env=self.head.variables, timeout_s=300)
        assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
        return str(json.loads(ended.stdout))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    shared = Path(tempfile.mkdtemp(prefix="flyteray-pods-", dir="/tmp"))
    try:
        with nodes.machines(["head", "worker", "outside"], shared) as (head, worker, outside):
            cluster = Cluster(head, worker, outside)
            try:
                yield cluster
            finally:
                for pod in (cluster.head, cluster.worker):
                    pod.node.kill()  # it may be another one than at the beginning
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def test_pods_are_ready_before_there_is_any_flyteray(cluster: Cluster) -> None:
    cluster.head.start_ray()
    cluster.worker.start_ray(cluster.head.node)

    eventually(lambda: cluster.refused == [set(), set()])
    assert not cluster.head.listens("http")


def test_the_service_leads_to_an_ingress_once_flyteray_is_started(cluster: Cluster) -> None:
    assert cluster.head.start_flyteray() == 0

    assert cluster.led_to() == [cluster.head]
    assert cluster.asked("/odd-1/") == "404"


def test_an_idle_worker_is_ready_and_takes_no_requests(cluster: Cluster) -> None:
    assert cluster.refused == [set(), set()]
    assert not cluster.worker.listens(8080)


def test_who_asks_the_service_reaches_a_replica_in_a_workers_pod(cluster: Cluster) -> None:
    cluster.told("serve")

    assert cluster.asked("/odd-1/") == "200"
    assert cluster.refused == [set(), set()]
    assert not cluster.worker.listens(8080)
    assert cluster.told("run") == "worker worker"


def test_workers_are_left_alone_while_the_head_is_away(cluster: Cluster) -> None:
    cluster.head.node.kill()
    failed = [cluster.worker.refused() for _ in range(5)]

    assert failed == [set()] * 5


def test_a_head_that_is_back_waits_for_no_worker(cluster: Cluster) -> None:
    cluster.worker.node.kill()
    cluster.head.replace(cluster.worker.node)
    cluster.head.start_ray()

    assert cluster.head.start_flyteray() == 0
    assert cluster.led_to() == [cluster.head]

    cluster.worker.replace(cluster.head.node)
    cluster.worker.start_ray(cluster.head.node)
    eventually(lambda: cluster.asked("/odd-1/") == "200")


def test_a_worker_whose_raylet_has_died_is_neither_ready_nor_alive(cluster: Cluster) -> None:
    end = "import psutil; [p.kill() for p in psutil.process_iter() if p.name() == 'raylet']"
    cluster.worker.node.python(end)

    eventually(lambda: cluster.worker.refused() == {"startupProbe", "livenessProbe", "readinessProbe"})
    assert cluster.head.refused() == set()
    assert cluster.led_to() == [cluster.head]
