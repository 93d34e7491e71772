"""A cluster whose head is killed ends; one that is started in its place, with its storage, serves its apps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import nodes
from tests.integration.cluster_of_machines import Machines, serving, url
from tests.waiting import eventually

PATIENCE_S = 5  # of other machines with a head that is away; Ray's own is a minute

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with serving(variables={"RAY_gcs_rpc_server_reconnect_timeout_s": str(PATIENCE_S)}) as there:
        yield there


@pytest.fixture(scope="module")
def run(machines: Machines) -> str:
    """A run that had done a third when the head was killed; its cluster has been started anew since."""
    name = str(machines.script(machines.one, "go-on"))
    machines.head.kill()
    machines.replace_head()
    for node in (machines.one, machines.two):
        eventually(lambda node=node: machines.begun(node) == [], every=0.5)  # type: ignore[misc]
        node.start_ray(machines.head, env=machines.variables)
    return name


def test_with_the_first_verb_the_run_goes_on_from_what_was_done_and_all_apps_are_served_again(
    machines: Machines, run: str
) -> None:
    output, succeeded, actions, journal = machines.script(machines.two, "end", run)

    assert output == sum(range(200))
    assert succeeded == actions == 201
    assert set(map(int, journal)) == set(range(200))
    assert len(journal) - 200 <= 10  # those that were going on when the head was killed
    for node in machines.all:
        eventually(lambda node=node: machines.asked(f"{url(node)}/who")[0] == 200)  # type: ignore[misc]


def test_each_machine_has_one_ingress_and_the_app_its_replicas(machines: Machines, run: str) -> None:
    # Ray puts them where there is room when each machine has joined: on a slow day two on one.
    eventually(lambda: len(machines.replicas()) == 3)
    for node in machines.all:
        supervisors = [line for line in machines.begun(node) if "haproxy/supervisor.py" in line]
        assert len(supervisors) == 1
    machines.ran_on_all(machines.two, "3")
