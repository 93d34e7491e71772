"""A head that is killed and comes back finds its cluster again, where Ray keeps in a Redis what it knows of that."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests import nodes, redis_server
from tests.integration.cluster_of_machines import ENVIRONMENT, FOLDER, PORT, Machines, serving, url
from tests.waiting import eventually

pytestmark = [nodes.required(), redis_server.required(), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with serving(lasting=True) as there:
        yield there


def test_nobody_who_asks_other_machines_is_refused_or_cut_and_the_head_serves_again(
    machines: Machines,
) -> None:
    load = machines.load(300, [url(machines.one), url(machines.two)], rate=5)
    machines.head.kill()
    machines.replace_head()
    eventually(lambda: machines.asked(f"{url(machines.head)}/who")[0] == 200)
    load.end()
    answers, talks = load.told()

    failed = [each for each in answers if each["status"] != 200]
    assert len(answers) > 50
    assert all(each["method"] == "POST" for each in failed), (
        failed
    )  # at the head's replica when it was killed
    assert all(talk["node"] == "head" for talk in talks if talk["cut"])


def test_the_app_has_all_its_replicas_and_tasks_run_on_all_machines(machines: Machines) -> None:
    eventually(lambda: len(machines.replicas()) == 3)
    machines.ran_on_all(machines.two, "3")


def test_a_new_app_is_served_on_all_machines(machines: Machines) -> None:
    served = machines.two.run(
        sys.executable, str(FOLDER / "sample_odd_nodes.py"), "serve", "1", env=ENVIRONMENT
    )

    assert served.stdout.startswith('"http://'), served.stdout + served.stderr
    for node in machines.all:
        assert machines.asked(f"http://{node.address}:{PORT}/odd-1/")[0] == 200


def test_a_head_that_is_back_at_another_address_is_found_there(machines: Machines) -> None:
    machines.head.kill()
    machines.replace_head("10.77.0.9")

    for node in machines.all:
        eventually(lambda node=node: machines.asked(f"{url(node)}/who")[0] == 200)  # type: ignore[misc]
    assert machines.script(machines.one, "serve")["url"] == f"{url(machines.head)}/"
    supervisors = [line for line in machines.begun(machines.head) if "haproxy/supervisor.py" in line]
    assert len(supervisors) == 1
