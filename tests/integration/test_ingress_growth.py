"""The backends of an ingress become more by a reload: what is open goes on, is counted, and follows what changes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from flyteray._ingress.differences import Difference
from flyteray._ingress.entry.grants import Grant
from flyteray._ingress.haproxy import maps, process
from flyteray._ingress.haproxy.runtime import Conversation
from flyteray._ingress.haproxy.supervisor import CONFIG_FILE
from flyteray._ingress.ingress import Ingress
from flyteray._ingress.routes import IngressState, Slot
from flyteray._ingress.tls.certificates import Authority, new_key, request
from tests.integration.ingress_servers import replicas
from tests.integration.test_ingress_changes import Load
from tests.waiting import eventually


@pytest.fixture
def ingress(tmp_path: Path) -> Iterator[Ingress]:
    ingress = Ingress(tmp_path, watched=os.getpid())
    yield ingress
    ingress.stop()


def serving(slot: Slot, *backends: int, **fields: object) -> IngressState:
    """Apps that are named after their backends."""
    apps: dict[str, int | None] = {f"app-{backend}": backend for backend in backends}
    return IngressState(apps, {backend: {1: slot} for backend in backends}, **fields)  # type: ignore[arg-type]


def backends(directory: Path) -> int:
    with Conversation(directory) as haproxy:
        return haproxy.backends()


def old_workers(directory: Path) -> list[int]:
    def found() -> tuple[list[int]] | None:
        try:
            return (process.old_workers(directory),)
        except OSError:  # it is reloading
            return None

    [workers] = eventually(found)
    return workers


@contextlib.contextmanager
def growing(ingress: Ingress, directory: Path, slot: Slot) -> Iterator[Callable[[], bool]]:
    """Inside it a worker is being started with more backends; tells whether that goes on."""
    ingress.apply(serving(slot, 0, 500))
    size = (directory / CONFIG_FILE).stat().st_size
    thread = threading.Thread(target=ingress.apply, args=(serving(slot, 0, 3000),))
    thread.start()
    try:
        eventually(lambda: (directory / CONFIG_FILE).stat().st_size > 2 * size, every=0.001)
        yield thread.is_alive
    finally:
        thread.join()


def answer(ingress: Ingress, app: str, client: httpx.Client | None = None) -> str:
    response = (client or httpx).get(f"http://127.0.0.1:{ingress.port()}/{app}/", timeout=60)
    return response.headers.get("x-replica", str(response.status_code))


def test_more_backends_cut_nothing_and_lose_no_request(ingress: Ingress, tmp_path: Path) -> None:
    port = ingress.port()
    with replicas("old", "new") as [old, new]:
        ingress.apply(serving(old.slot, 0))
        with (
            connect(f"ws://127.0.0.1:{port}/app-0/ws", proxy=None) as websocket,
            Load(f"http://127.0.0.1:{port}/app-0/") as load,
        ):
            assert websocket.recv() == "old /ws"
            ever = []
            for most in (127, 128, 300, 1000):
                load.goes_on()
                ingress.apply(serving(old.slot, 0, most))
                assert answer(ingress, f"app-{most}") == "old"
                ever.append(ingress.traffic([0])[0][1])
            load.goes_on()

            assert backends(tmp_path) == 2048
            assert len(old_workers(tmp_path)) >= 1
            assert ingress.sessions([0])[0] >= 1
            websocket.send("still here")
            assert websocket.recv() == "old still here"

            # The version of the WebSocket is replaced: what is open at the old process still counts.
            ingress.apply(
                IngressState({"app-0": 1000}, {0: {1: old.slot}, 1000: {1: new.slot}}, owners={0: "app-0"})
            )
            load.goes_on()
            eventually(lambda: ingress.sessions([0]) == {0: 1})
        eventually(lambda: ingress.sessions([0]) == {0: 0})
        eventually(lambda: not old_workers(tmp_path))

        assert load.answers.keys() == {"old", "new"}
        assert ever == sorted(ever)  # a process that has ended takes nothing away
        assert ingress.traffic([0])[0][1] >= ever[-1] > 0


def test_a_connection_from_before_is_led_by_what_is_true_now(ingress: Ingress) -> None:
    with replicas("old", "new") as [old, new], httpx.Client() as first, httpx.Client() as second:
        ingress.apply(serving(old.slot, 0, 1, waits={"app-0": 60_000, "app-1": 60_000}))
        assert (answer(ingress, "app-0", first), answer(ingress, "app-1", second)) == ("old", "old")

        # Backends are added; then one app gets a version in a backend that the old process does not have, and the
        # other one a replica in the place of one that may be anybody's now.
        ingress.apply(serving(old.slot, 0, 1, 200, waits={"app-0": 60_000, "app-1": 60_000}))
        ingress.apply(
            IngressState(
                {"app-0": 200, "app-1": 1},
                {1: {1: new.slot}, 200: {1: new.slot}},
                waits={"app-0": 60_000, "app-1": 60_000},
            )
        )

        assert (answer(ingress, "app-0", first), answer(ingress, "app-1", second)) == ("new", "new")


def test_a_key_that_is_taken_back_opens_nothing_on_a_connection_from_before(ingress: Ingress) -> None:
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of "hello"
    said = {"private": frozenset({"app-0"}), "keys": {digest: Grant("ann")}}
    with replicas("r") as [replica], httpx.Client(headers={"Authorization": "Bearer hello"}) as client:
        ingress.apply(serving(replica.slot, 0, **said))
        assert answer(ingress, "app-0", client) == "r"
        ingress.apply(serving(replica.slot, 0, 200, **said))

        ingress.apply(serving(replica.slot, 0, 200, private=said["private"]))

        assert answer(ingress, "app-0", client) in ("401", "403")


def test_backends_are_added_ahead_of_who_needs_them(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("r") as [replica]:
        ingress.apply(serving(replica.slot, 0, 95))
        assert backends(tmp_path) == 128
        ingress.apply(serving(replica.slot, 0, 96))

        eventually(lambda: backends(tmp_path) == 256)
        assert answer(ingress, "app-96") == "r"


def test_changes_while_backends_are_added_wait_for_nothing_and_are_true_in_every_process(
    ingress: Ingress, tmp_path: Path
) -> None:
    with replicas("r") as [replica], httpx.Client() as client:
        ingress.apply(serving(replica.slot, 0, 500))
        assert answer(ingress, "app-500", client) == "r"
        done_meanwhile = 0
        with growing(ingress, tmp_path, replica.slot) as is_growing:
            for number in range(1, 500):
                is_over = not is_growing()
                ingress.apply(serving(replica.slot, 0, number))
                done_meanwhile += is_growing()
                # on a connection of its own, and on one that may be open at the worker from before
                assert (answer(ingress, f"app-{number}"), answer(ingress, f"app-{number}", client)) == (
                    "r",
                    "r",
                )
                assert answer(ingress, f"app-{number - 1 or 500}") == "404"
                if is_over:
                    break

        assert done_meanwhile > 1
        assert backends(tmp_path) == 4096


def test_a_state_that_needs_room_does_not_take_a_later_one_back(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("old", "new") as [old, new]:
        with growing(ingress, tmp_path, old.slot):
            ingress.apply(serving(new.slot, 0, 1))

        assert (answer(ingress, "app-0"), answer(ingress, "app-1")) == ("new", "new")


def test_a_state_that_needs_more_than_is_being_made_holds_up_nobody(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("r") as [replica]:
        ingress.apply(serving(replica.slot, 0))
        with Load(f"http://127.0.0.1:{ingress.port()}/app-0/") as load:
            ingress.apply(serving(replica.slot, 0, 97))  # which makes room for 256
            began = time.monotonic()
            ingress.apply(serving(replica.slot, 0, 97, 400))
            assert time.monotonic() - began < 5
            load.goes_on()
        assert load.answers.keys() == {"r"}
        assert [answer(ingress, f"app-{number}") for number in (0, 97, 400)] == ["r", "r", "r"]


def test_figures_do_not_wait_for_a_reload(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("r") as [replica], growing(ingress, tmp_path, replica.slot) as is_growing:
        told = 0
        while is_growing():
            assert ingress.traffic([0])[0][1] == ingress.open([0])[0].in_flight == ingress.unseen() == 0
            told += is_growing()
        assert told > 5


def test_requests_wait_for_what_changed_while_a_process_was_started_but_not_for_ever(
    ingress: Ingress, tmp_path: Path
) -> None:
    with replicas("r") as [replica]:
        ingress.apply(serving(replica.slot, 0))
        (tmp_path / maps.TOLD).write_text(maps.told(anything=True, everything=False))
        process.reload(tmp_path)  # by one that ends before it tells anything

        began = time.monotonic()
        assert answer(ingress, "app-0") == "r"
        assert 1 < time.monotonic() - began < 20
        began = time.monotonic()
        assert answer(ingress, "app-0") == "r"
        assert time.monotonic() - began < 1


def fall_silent(listener: socket.socket, queue: contextlib.ExitStack) -> None:
    """Fill a listener's queue: its kernel answers nobody any more who connects."""
    listener.listen(0)
    for _ in range(4):
        waiting = queue.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())


def test_what_waits_for_a_silent_machine_ends_also_at_a_worker_that_is_leaving(tmp_path: Path) -> None:
    arrived = threading.Event()
    with (
        known_to_others(tmp_path) as ingress,
        socket.create_server(("127.0.0.2", 0)) as machine,
        contextlib.ExitStack() as queue,
    ):
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(tmp_path / maps.PEER_FILE)

        def listen() -> None:
            while not arrived.is_set():
                client, _ = machine.accept()
                with contextlib.suppress(OSError):
                    wrapped = queue.enter_context(tls.wrap_socket(client, server_side=True))
                    if wrapped.recv(100):
                        arrived.set()

        host, port = machine.getsockname()

        def state(*more: int) -> IngressState:
            slots = {1: Slot(host, 7)}
            return serving(Slot("127.0.0.1", 9), *more).but(
                apps={f"app-{b}": b for b in (0, *more)}, backends={0: slots}, peers={host: port}
            )

        threading.Thread(target=listen, daemon=True).start()
        ingress.apply(state(130))
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(answer, ingress, "app-0")
            eventually(arrived.is_set)
            ingress.apply(state(130, 300))
            assert len(old_workers(tmp_path)) == 1
            fall_silent(machine, queue)
            assert asked.result() in ("502", "503")


def test_a_silent_machine_is_avoided_by_every_worker_that_begins(tmp_path: Path) -> None:
    """Its checks would find it out half a minute later."""
    with (
        replicas("r") as [replica],
        socket.socket() as silent,
        contextlib.ExitStack() as queue,
        known_to_others(tmp_path) as ingress,
    ):
        silent.bind(("127.0.0.2", 0))
        fall_silent(silent, queue)
        host, port = silent.getsockname()

        def state(*more: int) -> IngressState:
            backends = {each: {1: replica.slot, 2: Slot(host, 7)} for each in (0, *more)}
            return IngressState({f"app-{b}": b for b in backends}, backends, peers={host: port})

        def are_down() -> set[bool]:
            try:
                with Conversation(tmp_path) as haproxy:
                    rows = [line.split() for line in haproxy.ask("show servers state").splitlines()]
            except OSError:  # it is starting
                return set()
            return {row[5] == "0" for row in rows if len(row) > 5 and maps.is_elsewhere(row[3])}

        ingress.apply(
            state(130)
        )  # by a reload: one that listens for no other machine has no certificates loaded
        assert are_down() == {False}
        eventually(lambda: are_down() == {True})
        eventually(lambda: ingress.silent() == [host])

        ingress.apply(state(130, 1))  # a server that was not there before
        assert are_down() == {True}
        ingress.apply(state(130, 1, 300))
        assert are_down() == {True}
        found = process.running(tmp_path)
        assert found is not None
        [master] = psutil.Process(found.pid).children()
        master.kill()
        master.wait()
        eventually(lambda: are_down() == {True}, timeout=10)


class Machine:
    """The ingress of another machine that takes connections and says nothing; it counts the checks, which use TLS."""

    def __init__(self, address: str) -> None:
        self.checks = self.looks = 0  # the latter connect and leave, twice a second
        self._socket = socket.create_server((address, 0))
        self.slot = Slot(*self._socket.getsockname())

    def __enter__(self) -> Machine:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._count, args=(client,), daemon=True).start()

    def _count(self, client: socket.socket) -> None:
        with client, contextlib.suppress(ConnectionError):
            said = client.recv(1)
            self.checks += bool(said)
            self.looks += not said
            while said:
                said = client.recv(1000)


@contextlib.contextmanager
def known_to_others(directory: Path) -> Iterator[Ingress]:
    """An ingress that has a certificate for those of other machines."""
    authority, key = Authority.new(), new_key()
    (directory / maps.CA_FILE).write_bytes(authority.certificate)
    (directory / maps.PEER_FILE).write_bytes(authority.sign(request(key)) + key)
    ingress = Ingress(directory, watched=os.getpid())
    try:
        yield ingress
    finally:
        ingress.stop()


def test_other_machines_are_not_checked_all_at_once_by_a_process_that_starts(tmp_path: Path) -> None:
    with Machine("127.0.0.2") as machine, known_to_others(tmp_path) as ingress:
        state = serving(machine.slot, *range(200))
        ingress.apply(state.but(peers={machine.slot.host: machine.slot.port}))
        eventually(lambda: machine.looks > 6)
        assert machine.checks < 50


def test_a_new_object_and_a_new_process_have_as_many_backends(ingress: Ingress, tmp_path: Path) -> None:
    with replicas("r") as [replica]:
        ingress.apply(serving(replica.slot, 0, 500))
        with connect(f"ws://127.0.0.1:{ingress.port()}/app-0/ws", proxy=None) as websocket:
            websocket.recv()
            ingress.apply(serving(replica.slot, 0, 500, 600))
            again = Ingress(tmp_path, watched=os.getpid())
            try:
                assert again.sessions([0]) == {0: 1}  # it knows of the old process
                again.apply(serving(replica.slot, 0))
                assert (backends(tmp_path), answer(again, "app-600")) == (1024, "404")
                again.apply(serving(replica.slot, 0, 600))
            finally:
                again.stop()
        ingress.stop()  # it would start HAProxy again, as it does when that ends by itself
        last = Ingress(tmp_path, watched=os.getpid())
        try:
            assert (backends(tmp_path), answer(last, "app-600")) == (1024, "503")  # replicas are told anew
        finally:
            last.stop()


def test_a_state_is_amended_by_its_name(ingress: Ingress) -> None:
    with replicas("one", "two") as [one, two]:
        first, second = serving(one.slot, 0), serving(two.slot, 0, 1)
        ingress.apply(first, "first")
        difference = Difference.between(first, second)

        assert not ingress.amend(difference, "another", "second")
        assert answer(ingress, "app-0") == "one"
        assert ingress.amend(difference, "first", "second")
        assert (answer(ingress, "app-0"), answer(ingress, "app-1")) == ("two", "two")
        assert not ingress.amend(difference, "first", "second")
        ingress.apply(first)  # without a name it can't be amended

        assert not ingress.amend(difference, "", "second")
