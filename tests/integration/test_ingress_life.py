"""The ingress's processes: what they survive, with whom they end, and how they are found again."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from flyteray._cluster.processes import is_alive
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.process import Listening
from flyteray._ingress.ingress import Ingress, found_at
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.tls.certificates import Authority, new_key, request
from flyteray._machine import ports
from flyteray.errors import ClusterError
from tests.integration.ingress_servers import Replica, replicas
from tests.processes import listening
from tests.waiting import eventually


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory whose path is longer than that of a socket may be."""
    return tmp_path / ("long" * 30)


@pytest.fixture
def ingress(directory: Path) -> Iterator[Ingress]:
    ingress = Ingress(directory, watched=os.getpid())
    yield ingress
    ingress.stop()


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("r") as [replica]:
        yield replica


def serving(replica: Replica) -> IngressState:
    return IngressState({"app": 2}, {2: {1: replica.slot}})


def status(ingress: Ingress, app: str = "app") -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{ingress.port()}/{app}/", timeout=60).status_code
    except httpx.HTTPError:
        return None


def processes(directory: Path) -> dict[str, psutil.Process]:
    """The supervisor, master and worker of a directory."""
    found = process.running(directory)
    assert found is not None
    supervisor = psutil.Process(found.pid)

    def whole() -> dict[str, psutil.Process] | None:
        try:
            [master] = supervisor.children()
            [worker] = master.children()
        except (ValueError, psutil.NoSuchProcess):  # one is just being replaced
            return None
        return {"supervisor": supervisor, "master": master, "worker": worker}

    return eventually(whole)


def leave_running(directory: Path, first: str = "") -> process.Supervisor:
    """An ingress whose process was killed, together with its process group."""
    script = f"""
{first}
import os
from flyteray._ingress.ingress import Ingress
Ingress({str(directory)!r}, watched={os.getpid()})
os.kill(0, 9)
"""
    subprocess.run([sys.executable, "-c", script], start_new_session=True, check=False)
    found = process.running(directory)
    assert found is not None
    return found


@pytest.mark.parametrize("victim", ["worker", "master", "supervisor"])
def test_what_is_killed_comes_back_with_the_current_state(
    ingress: Ingress, directory: Path, replica: Replica, victim: str
) -> None:
    ingress.apply(IngressState({"app": 1, "gone": 1}, {1: {1: replica.slot}}))
    ingress.apply(serving(replica))
    before = processes(directory)

    before[victim].kill()

    eventually(lambda: not is_alive(before["worker"].pid))
    assert eventually(lambda: status(ingress)) == 200
    assert status(ingress, "gone") == 404
    ingress.apply(IngressState({"new": 3}, {3: {1: replica.slot}}))
    assert (status(ingress), status(ingress, "new")) == (404, 200)
    assert ingress.port() == process.ensure(directory, Listening("127.0.0.1", 0, os.getpid())).port


def test_connections_wait_while_haproxy_restarts(ingress: Ingress, directory: Path, replica: Replica) -> None:
    ingress.apply(serving(replica))
    for _ in range(3):
        processes(directory)["master"].kill()

        # One that was already being accepted by the killed process is lost; none is refused.
        with httpx.Client() as client:
            try:
                client.get(f"http://127.0.0.1:{ingress.port()}/app/")
            except httpx.ConnectError as error:
                pytest.fail(f"refused: {error}")
            except httpx.HTTPError:
                continue


def test_a_change_while_haproxy_restarts_is_not_lost(
    ingress: Ingress, directory: Path, replica: Replica
) -> None:
    for number in range(5):
        processes(directory)["master"].kill()
        ingress.apply(IngressState({f"app-{number}": number}, {number: {1: replica.slot}}))

        # One request may still be accepted by the process that is being killed.
        assert eventually(lambda: status(ingress, f"app-{number}")) == 200  # noqa: B023  # asked in this turn


def test_stop_leaves_no_process(ingress: Ingress, directory: Path) -> None:
    before = processes(directory).values()

    ingress.stop()

    assert not any(is_alive(one.pid) for one in before)
    assert status(ingress) is None


def test_it_ends_with_the_process_it_belongs_to(directory: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ingress = Ingress(directory, watched=owner.pid)
    before = processes(directory).values()

    owner.kill()  # still a zombie when the ingress ends

    eventually(lambda: not any(is_alive(one.pid) for one in before))
    owner.communicate()
    assert status(ingress) is None
    with pytest.raises(ClusterError, match=f"process {owner.pid} .* is gone"):
        Ingress(directory, watched=owner.pid)


def test_it_outlives_the_process_that_started_it(directory: Path, replica: Replica) -> None:
    found = leave_running(directory)

    ingress = Ingress(directory, watched=os.getpid())
    try:
        assert process.running(directory) == found
        ingress.apply(serving(replica))
        assert status(ingress) == 200
    finally:
        ingress.stop()


def test_a_new_object_carries_on_with_the_haproxy_that_runs(
    ingress: Ingress, directory: Path, replica: Replica
) -> None:
    ingress.apply(IngressState({"old": 1, "app": 1, "halted": None}, {1: {1: replica.slot, 5: replica.slot}}))
    before = processes(directory)

    again = Ingress(directory, watched=os.getpid())

    assert status(again, "old") == 200
    again.apply(serving(replica))
    assert [status(again, app) for app in ("app", "old", "halted")] == [200, 404, 404]
    assert again.port() == ingress.port()
    assert processes(directory) == before
    again.stop()


def watching() -> set[threading.Thread]:
    """The threads that look after what is open at an ingress."""
    return {each for each in threading.enumerate() if each.name in ("flyteray-pace", "ingress-keeper")}


def test_another_cluster_gets_the_same_port_and_none_of_the_replicas(
    directory: Path, replica: Replica
) -> None:
    before = watching()
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = Ingress(directory, watched=owner.pid)
    first.apply(serving(replica))
    owner.communicate(b"\n")
    eventually(lambda: not watching() - before)  # nobody is left to be told that HAProxy does not answer

    second = Ingress(directory, watched=os.getpid())
    try:
        assert second.port() == first.port()
        assert (status(second), status(second, "nope")) == (503, 404)
    finally:
        second.stop()


def test_clients_of_a_new_haproxy_wait_until_it_is_told_a_state(directory: Path, replica: Replica) -> None:
    """Whoever asks a machine that has just been added would hear that there is no such app."""
    ingress = Ingress(directory, watched=os.getpid(), told_first=True)
    try:
        with ThreadPoolExecutor(2) as pool:
            processes(directory)["worker"].kill()  # neither one that died nor another object has been told
            processes(directory)
            asked = [pool.submit(status, ingress, app) for app in ("app", "another")]
            ingress._stop_watching()
            again = Ingress(directory, watched=os.getpid(), told_first=True)
            assert not any(each.done() for each in asked)
            again.apply(serving(replica))
            assert [each.result() for each in asked] == [200, 404]

            before = processes(directory)
            again.apply(serving(replica))
            again._stop_watching()
            Ingress(directory, watched=os.getpid(), told_first=True)._stop_watching()
            assert status(again) == 200
            assert processes(directory) == before
    finally:
        ingress.stop()


def test_clients_of_one_that_is_never_told_a_state_hear_so(directory: Path, replica: Replica) -> None:
    """Its cluster may have no controller, as its database can't be reached."""
    ingress = Ingress(directory, watched=os.getpid(), told_first=True)
    try:

        def ask(path: str, **headers: str) -> httpx.Response:
            return httpx.get(f"http://127.0.0.1:{ingress.port()}{path}", headers=headers, timeout=60)

        with ThreadPoolExecutor(3) as pool:
            began = time.monotonic()
            asked = pool.submit(ask, "/app/")
            as_json = pool.submit(ask, "/", accept="application/json")
            own = pool.submit(ask, "/-/metrics", authorization="Bearer any")
            answer = asked.result()
            assert 5 < time.monotonic() - began < 20
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
            assert "was not told yet which apps there are" in answer.text
            assert as_json.result().json() == {"error": answer.text.strip()}
            assert (own.result().status_code, own.result().text) == (503, answer.text)

        ingress.apply(serving(replica))
        began = time.monotonic()
        assert [status(ingress, app) for app in ("app", "another")] == [200, 404]
        assert time.monotonic() - began < 5
    finally:
        ingress.stop()


def test_other_machines_do_not_wait_for_one_that_is_not_told_a_state(directory: Path) -> None:
    """They know others, which may have replicas too."""
    address = found_at("0.0.0.0")
    ingress = Ingress(directory, watched=os.getpid(), address=address, told_first=True)
    try:
        authority, key = Authority.new(), new_key()
        wish = ingress.wish(authority.certificate)
        if wish is None:
            pytest.skip("this machine has no address but loopback")
        ingress.join(authority.sign(wish), authority.certificate)
        other = ssl.create_default_context(cadata=authority.certificate.decode())
        (directory / "other.pem").write_bytes(authority.sign(request(key)) + key)
        other.load_cert_chain(directory / "other.pem")
        with (
            socket.create_connection((address, ingress.peers_port()), timeout=60) as raw,
            other.wrap_socket(raw, server_hostname=maps.PEER_NAME) as connection,
        ):
            began = time.monotonic()
            connection.sendall(b"GET / HTTP/1.1\r\nHost: app\r\nX-Flyteray-Replica: b0-s1\r\n\r\n")
            assert connection.recv(1) == b""
            assert time.monotonic() - began < 5
    finally:
        ingress.stop()


@pytest.mark.parametrize("what", ["apply", "join", "grow"])
def test_nothing_waits_for_a_supervisor_that_has_ended(directory: Path, replica: Replica, what: str) -> None:
    """Who has something told to HAProxy must not keep it from being started again."""
    address = found_at("0.0.0.0")
    ingress = Ingress(directory, watched=os.getpid(), address=address)
    here = {1: Slot(address, replica.slot.port)}
    try:
        authority = Authority.new()
        wish = ingress.wish(authority.certificate)
        if wish is None:
            pytest.skip("this machine has no address but loopback")
        ingress.apply(IngressState({"app": 1}, {1: here}))
        processes(directory)["supervisor"].kill()

        began = time.monotonic()
        if what == "join":
            ingress.join(authority.sign(wish), authority.certificate)
        elif what == "grow":
            ingress.apply(IngressState({"app": 300}, {300: here}))
        else:
            ingress.apply(IngressState({"app": 2}, {2: here}))

        assert time.monotonic() - began < 8
        assert eventually(lambda: status(ingress)) == 200
    finally:
        ingress.stop()


def test_a_remembered_port_that_is_taken_is_given_up(ingress: Ingress, directory: Path) -> None:
    ingress.stop()
    with socket.create_server(("127.0.0.1", ingress.port())):
        again = Ingress(directory, watched=os.getpid())
        again.stop()

    assert again.port() != ingress.port()


def test_other_machines_find_it_where_they_did_after_its_supervisor_has_ended(
    ingress: Ingress, directory: Path
) -> None:
    """Nobody tells them of another port before an hour is over."""
    ingress.stop()
    wanted = Listening("127.0.0.1", 0, os.getpid(), peers="127.0.0.1")
    first = process.ensure(directory, wanted)
    psutil.Process(first.pid).kill()
    process.wait_ended(directory)
    second = process.ensure(directory, wanted)
    process.stop(directory)
    assert first.pid != second.pid
    assert first.peers_port == second.peers_port > 0

    with socket.create_server(("127.0.0.1", first.peers_port)):
        third = process.ensure(directory, wanted)
        process.stop(directory)
    assert third.peers_port not in (0, first.peers_port)


def test_a_requested_port_that_is_taken_is_named(directory: Path, ingress: Ingress, tmp_path: Path) -> None:
    with pytest.raises(ClusterError) as refused:
        Ingress(tmp_path / "other", port=ingress.port(), watched=os.getpid())

    told, port = str(refused.value), ingress.port()
    assert told.startswith(
        f"The ingress of {socket.gethostname()} did not start. Port {port} of 127.0.0.1 is taken"
    )
    assert "Choose another one, or 0 for any that is free: FLYTERAY_PORT, or flyteray up --port." in told
    assert re.search(rf"On port {port} listens process \d+ \(\S+\)\.$", told)


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ClusterError, match=r"of 203.0.113.1 can't be.*Choose an address of this machine: FLYTERAY"
    ):
        Ingress(tmp_path, host="203.0.113.1", watched=os.getpid())
    # As Ray may be told to know it by: that of a router in front.
    with pytest.raises(ClusterError, match=r"of 203.0.113.1 can't be.*of this machine: ray start --node-ip"):
        Ingress(tmp_path, address="203.0.113.1", watched=os.getpid())


def test_a_requested_port_is_used_even_if_one_runs_on_another(directory: Path) -> None:
    found = leave_running(directory)
    port = ports.free_port("127.0.0.1")

    ingress = Ingress(directory, port=port, watched=os.getpid())
    ingress.stop()

    assert ingress.port() == port != found.port


def test_what_haproxy_says_against_its_configuration_is_passed_on(directory: Path, ingress: Ingress) -> None:
    ingress.stop()
    (directory / "haproxy.cfg").write_text("nonsense here\n")

    with pytest.raises(ClusterError, match="unknown keyword 'nonsense'"):
        process.ensure(directory, Listening("127.0.0.1", 0, os.getpid()))


def test_a_missing_haproxy_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ClusterError, match=r"pip install 'ray\[serve\]'"):
        Ingress(tmp_path / "ingress", watched=os.getpid())


def test_only_the_user_can_read_its_directory_and_sockets(ingress: Ingress, directory: Path) -> None:
    modes = {
        name: oct((directory / name).stat().st_mode & 0o777) for name in (".", "admin.sock", "master.sock")
    }

    assert modes == {".": "0o700", "admin.sock": "0o600", "master.sock": "0o600"}


def test_it_listens_on_the_given_address_alone(ingress: Ingress, directory: Path) -> None:
    assert listening(processes(directory).values()) == {("127.0.0.1", ingress.port())}


def test_few_file_descriptors_mean_fewer_connections_not_a_refusal(directory: Path, replica: Replica) -> None:
    leave_running(directory, "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))")

    ingress = Ingress(directory, watched=os.getpid())
    try:
        ingress.apply(serving(replica))
        assert status(ingress) == 200
    finally:
        ingress.stop()


def test_a_signal_ends_the_supervisor_and_haproxy_in_order(directory: Path) -> None:
    leave_running(directory)
    before = processes(directory)

    before["supervisor"].send_signal(signal.SIGINT)

    eventually(lambda: not any(is_alive(one.pid) for one in before.values()))
