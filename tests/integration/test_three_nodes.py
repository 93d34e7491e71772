"""A cluster of three machines with addresses, processes and folders of their own, seen from a fourth.

Faults happen to it one after the other, at last to its head: that comes back to a cluster of which Ray keeps in a Redis
what it knows, and then in the place of one that has ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from flyteray._ingress.haproxy.maps import PEER_NAME
from tests import nodes, redis_server
from tests.integration.cluster_of_machines import PORT, Machines, serving, url
from tests.waiting import eventually

# Every process that speaks to Ray has a port of its core, that which started flyteray's actors too.
RAYS = (
    "gcs_server",
    "raylet",
    "dashboard",
    "ray::",
    "site-packages/ray/",
    "_control.resident",
    "sample_nodes.py",
)
LISTENING = """
import json, psutil
found = {}
for c in psutil.net_connections("tcp"):
    if c.status == "LISTEN":
        found.setdefault(c.laddr.port, " ".join(psutil.Process(c.pid).cmdline())[:200] if c.pid else "")
print(json.dumps(found))
"""
SCAN = """
import json, socket, sys
found = []
for port in map(int, sys.argv[2:]):
    with socket.socket() as one:
        one.settimeout(20)
        if one.connect_ex((sys.argv[1], port)) == 0:
            found.append(port)
print(json.dumps(found))
"""
# Of other machines with a head that is away: Ray's own minute is short for one that starts on a busy machine.
PATIENCE = {"RAY_gcs_rpc_server_reconnect_timeout_s": "90"}

pytestmark = [nodes.required(), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    with serving(lasting=redis_server.missing() is None, variables=PATIENCE) as there:
        yield there


def test_people_are_given_the_address_of_the_head_from_whichever_node_they_serve(machines: Machines) -> None:
    served = machines.script(machines.two, "serve", "hello")

    assert served["url"] == f"http://{machines.head.address}:{PORT}/hello/"
    assert machines.asked(f"{served['url']}who")[0] == 200


def test_tasks_on_every_node_reach_an_app_through_the_ingress_of_their_own(machines: Machines) -> None:
    calls = machines.ran_on_all(machines.head, "100")

    assert sum(answered for _, _, answered in calls) == 600
    near = {node: endpoint for node, endpoint, _ in calls if node != "head"}
    assert set(near.values()) == {f"http://127.0.0.1:{PORT}/hello"}


def test_scripts_on_every_node_reach_an_app_and_find_the_replica_of_their_own_first(
    machines: Machines,
) -> None:
    for node in machines.all:
        assert machines.script(node, "call", "20") == [node.name] * 20


def test_from_outside_there_is_the_ingress_and_what_is_rays_own(machines: Machines) -> None:
    for node in machines.all:
        by = json.loads(node.python(LISTENING))
        reached = json.loads(machines.outside.python(SCAN, node.address, *by))
        assert PORT in reached
        for port in reached:
            line = by[str(port)]
            is_ingress = "haproxy" in line or "supervisor.py" in line
            is_ray = any(word in line for word in RAYS)
            assert is_ingress or is_ray, f"{node.name}: {port} {line}"
            if port != PORT:
                told = machines.asked(f"http://{node.address}:{port}/who")[1]
                assert '"headers"' not in told, f"{node.name}: a replica answers on {port}: {line}"


def test_nobody_without_a_certificate_of_the_cluster_gets_past_an_ingress(machines: Machines) -> None:
    ports = machines.one.python(
        "import psutil\n"
        "for c in psutil.net_connections('tcp'):\n"
        f"    if c.status == 'LISTEN' and c.laddr.ip == {machines.one.address!r} and c.pid "
        "and 'haproxy' in ' '.join(psutil.Process(c.pid).cmdline()):\n"
        "        print(c.laddr.port)"
    ).split()
    peers = [port for port in set(ports) if int(port) != PORT]
    assert peers
    for port in peers:
        name = f"{PEER_NAME}:{port}"
        told = machines.outside.run(
            "curl",
            "--http1.1",  # over HTTP/2 it says as often that the connection has ended
            "-skS",
            "-m",
            "10",
            "--connect-to",
            f"{name}:{machines.one.address}:{port}",
            f"https://{name}/who",
        )
        assert told.returncode != 0
        assert "certificate required" in told.stderr


def test_nobody_can_say_what_only_the_ingress_says(machines: Machines) -> None:
    forged = (
        "X-Forwarded-For: 6.6.6.6",
        "X-Flyteray-User: root",
        "X-Forwarded-Proto: https",
        "Forwarded: for=6.6.6.6",
    )
    options = [word for header in forged for word in ("-H", header)]
    for node in machines.all:
        for _ in range(3):
            headers = json.loads(machines.asked(f"{url(node)}/who", *options)[1])["headers"]
            assert headers["x-forwarded-for"] == machines.outside.address
            assert headers["x-forwarded-proto"] == "http"
            assert "x-flyteray-user" not in headers
            assert "forwarded" not in headers


def test_a_silent_node_keeps_nobody_waiting_and_its_return_cuts_nothing(machines: Machines) -> None:
    load = machines.load(14, [url(machines.head), url(machines.one)])
    time.sleep(2)  # some of the load's time, not for anything to happen
    machines.two.silence()
    silent_at = time.time()
    assert machines.script(machines.head, "until", "away") == "away"
    time.sleep(max(0.0, silent_at + 6 - time.time()))
    machines.two.speak()
    assert machines.script(machines.head, "until", "back") == "back"
    answers, talks = load.told()

    failed = [each for each in answers if each["status"] != 200]
    assert len(answers) > 200
    assert [each for each in failed if each["status"] != 502 or each["at"] > silent_at + 4] == []
    assert max(each["took"] for each in answers) < 6
    assert all(talk["node"] == "two" for talk in talks if talk["cut"])


def test_nodes_that_do_not_reach_each_other_still_answer(machines: Machines) -> None:
    load = machines.load(10, [url(node) for node in machines.all])
    machines.one.part_from(machines.two)
    time.sleep(5)
    machines.one.part_from(machines.two, parted=False)
    answers, talks = load.told()

    assert [each for each in answers if each["status"] != 200] == []
    assert [talk for talk in talks if talk["cut"]] == []


def test_a_killed_controller_and_a_killed_ingress_actor_cost_nothing(machines: Machines) -> None:
    load = machines.load(10, [url(node) for node in machines.all])
    for node, what in ((machines.head, "ray::Controller"), (machines.one, "ray::IngressActor")):
        machines.end(node, what)
    answers, talks = load.told()

    assert [each for each in answers if each["status"] != 200] == []
    assert [talk for talk in talks if talk["cut"]] == []
    # and both are back
    machines.script(machines.two, "serve", "hello")
    assert machines.script(machines.one, "call", "5") == ["one"] * 5


@pytest.fixture(scope="module")
def written(machines: Machines) -> str:
    """A run whose outputs, files, folders and logs were written on all machines."""

    def wrote() -> str | None:
        name, on = machines.script(machines.one, "write")
        return name if on == sorted(machines.names) else None  # one may be slower than the others with all

    return str(eventually(wrote))


def test_what_each_node_wrote_is_read_on_another(machines: Machines, written: str) -> None:
    assert machines.script(machines.one, "read", written) == ["head", "one", "two"]


def test_a_node_that_dies_costs_nobody_but_those_whose_request_it_had(
    machines: Machines, written: str
) -> None:
    load = machines.load(10, [url(machines.head), url(machines.one)])
    time.sleep(2)
    machines.two.kill()
    died_at = time.time()
    answers, talks = load.told()

    failed = [each for each in answers if each["status"] != 200]
    assert [each for each in failed if each["method"] != "POST" or each["at"] > died_at + 4] == []
    assert max(each["took"] for each in answers) < 6
    assert all(talk["node"] == "two" for talk in talks if talk["cut"])
    assert machines.script(machines.one, "read", written) == [
        "head",
        "one",
        "two",
    ]  # what it wrote is still there


def test_a_machine_that_comes_back_serves_again(machines: Machines) -> None:
    machines.two.kill()
    machines.replace("two")

    # nobody is told that there is no such app because its ingress has not heard of any yet
    assert eventually(lambda: machines.asked(f"{url(machines.two)}/who")[0]) == 200


@redis_server.required()
def test_while_the_head_is_away_nobody_who_asks_other_machines_is_refused_or_cut_and_it_serves_again(
    machines: Machines,
) -> None:
    load = machines.load(300, [url(machines.one), url(machines.two)], rate=5)
    machines.kill_head()
    machines.replace_head()
    eventually(lambda: machines.asked(f"{url(machines.head)}/who")[0] == 200, every=0.3)
    load.end()
    answers, talks = load.told()

    failed = [each for each in answers if each["status"] != 200]
    assert len(answers) > 50
    # at the head's replica when it was killed
    assert all(each["method"] == "POST" for each in failed), failed
    assert all(talk["node"] == "head" for talk in talks if talk["cut"])


@redis_server.required()
def test_then_the_app_has_all_its_replicas_and_tasks_run_on_all_machines(machines: Machines) -> None:
    eventually(lambda: len(machines.replicas()) == 3, every=0.3)
    machines.ran_on_all(machines.two, "3")


@redis_server.required()
def test_then_a_new_app_is_served_on_all_machines(machines: Machines) -> None:
    machines.script(machines.two, "serve", "another")

    for node in machines.all:
        assert machines.asked(f"http://{node.address}:{PORT}/another/who")[0] == 200


@redis_server.required()
def test_a_head_that_is_back_at_another_address_is_found_there(machines: Machines) -> None:
    machines.kill_head()
    machines.replace_head("10.77.0.9")

    for node in machines.all:
        eventually(lambda node=node: machines.asked(f"{url(node)}/who")[0] == 200, every=0.3)  # type: ignore[misc]
    assert machines.script(machines.one, "serve", "hello")["url"] == f"{url(machines.head)}/"
    supervisors = [line for line in machines.begun(machines.head) if "haproxy/supervisor.py" in line]
    assert len(supervisors) == 1


@pytest.fixture(scope="module")
def run(machines: Machines) -> str:
    """A run that had done a third when the head was killed; its cluster has ended and been started anew since."""
    name = str(machines.script(machines.one, "go-on"))
    machines.kill_head()
    for node in (machines.one, machines.two):
        eventually(lambda node=node: machines.begun(node) == [], timeout=300, every=1)  # type: ignore[misc]
    machines.variables = PATIENCE  # Ray knows nothing of what was
    machines.replace_head()
    for node in (machines.one, machines.two):
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
        eventually(lambda node=node: machines.asked(f"{url(node)}/who")[0] == 200, every=0.3)  # type: ignore[misc]


def test_each_machine_has_one_ingress_and_the_app_its_replicas(machines: Machines, run: str) -> None:
    # Ray puts them where there is room when each machine has joined: on a slow day two on one.
    eventually(lambda: len(machines.replicas()) == 3, every=0.3)
    for node in machines.all:
        supervisors = [line for line in machines.begun(node) if "haproxy/supervisor.py" in line]
        assert len(supervisors) == 1
    machines.ran_on_all(machines.two, "3")
