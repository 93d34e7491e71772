"""A cluster whose head is killed ends; one that is started in its place, with its storage, serves its apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import nodes
from tests.integration.cluster_of_machines import Machines, serving, url
from tests.waiting import eventually

PATIENCE_S = 5  # of other machines with a head that is away; Ray's own is a minute

pytestmark = [nodes.required(), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with serving(variables={"RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE_S)}) as there:
        yield there


@pytest.fixture(scope="module")
def run(machines: Machines) -> str:
    """A run that went on when the head was killed; its cluster has been started anew since."""
    name = str(machines.script(machines.one, "stay"))
    machines.head.kill()
    machines.replace_head()
    for node in (machines.one, machines.two):
        eventually(lambda node=node: machines.begun(node) == [], every=0.5)  # type: ignore[misc]
        node.start_ray(machines.head, env=machines.variables)
    return name


def test_the_first_verb_has_a_lost_run_say_so_and_all_apps_served_again(machines: Machines, run: str) -> None:
    phase, error = machines.script(machines.two, "end", run)

    assert phase == "failed"
    assert (
        error == "The cluster stopped, or the process that owned the run died, before it ended. Run it again."
    )
    for node in machines.all:
        eventually(lambda node=node: machines.asked(f"{url(node)}/who")[0] == 200)  # type: ignore[misc]


def test_each_machine_has_one_ingress_and_its_replica(machines: Machines, run: str) -> None:
    eventually(lambda: set(machines.replicas()) == {node.address for node in machines.all})
    for node in machines.all:
        supervisors = [line for line in machines.begun(node) if "haproxy/supervisor.py" in line]
        assert len(supervisors) == 1
    assert {node for node, _, _ in machines.script(machines.two, "run", "3")} == {"head", "one", "two"}
