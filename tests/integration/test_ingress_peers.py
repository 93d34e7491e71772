"""The ingresses of machines of which the first has no replica: real HAProxies, no Ray."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from flyteray._ingress.tls.certificates import Authority
from tests import nodes
from tests.integration import sample_peer
from tests.nodes import Node
from tests.waiting import eventually

pytestmark = nodes.required()
WEBSOCKET = """
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], ping_interval=None) as socket:
        print(await socket.recv(), flush=True)
        for line in sys.stdin:
            await socket.send(line.strip())
            print(await socket.recv(), flush=True)
asyncio.run(main())
"""
CROWD = """
import asyncio, collections, json, sys, httpx
async def main():
    limits = httpx.Limits(max_connections=1000)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        answers = await asyncio.gather(*(client.get(sys.argv[1]) for _ in range(int(sys.argv[2]))))
    print(json.dumps(collections.Counter(answer.status_code for answer in answers)))
asyncio.run(main())
"""

CALLS = """
import sys
from tests.integration.grpc_talk import Chat, Client, channel
with Client(channel(sys.argv[1], "hello")) as client:
    chat = Chat(client, timeout=60)
    said = [chat.say(b" hello"), chat.say(b" again")]
    counted = len(list(client.count(b"100", timeout=60)))
    joined = client.join(iter([bytes(1 << 20)] * 4), timeout=60)
    name = client.name(b"", timeout=60).decode()
    print(f"{name} of {counted} and {len(joined)} bytes: {b', '.join(said).decode()}")
    chat.end()
"""


@dataclass
class Peer:
    node: Node
    process: subprocess.Popen[str]
    port: int

    def do(self, line: str) -> None:
        assert say(self.process, line) == "done"


def say(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def start(node: Node) -> Peer:
    command = (sys.executable, sample_peer.__file__, node.address, "/tmp/shared")
    process = node.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    return Peer(node, process, int(process.stdout.readline()))


@pytest.fixture(scope="module")
def peers() -> Iterator[list[Peer]]:
    with tempfile.TemporaryDirectory(prefix="flyteray-peers-", dir="/tmp") as shared:
        authority = Authority.new()
        (Path(shared) / "ca.pem").write_bytes(authority.certificate)
        (Path(shared) / "ca.key").write_bytes(authority.key)
        with nodes.machines(["one", "two", "three"], Path(shared)) as machines:
            started = [start(node) for node in machines]
            know(started, started[1:2])
            yield started


def know(peers: list[Peer], replicas: list[Peer], **options: object) -> None:
    """Have all ingresses lead to the replicas of these machines."""
    hosts = [peer.node.address for peer in replicas]
    ports = {peer.node.address: peer.port for peer in [*peers, *replicas]}
    for peer in peers:
        peer.do(f"peer.apply({hosts!r}, {ports!r}, **{options!r})")


def asked(peers: list[Peer], *options: str, path: str = "who", fails: bool = False) -> str:
    url = f"http://{peers[0].node.address}:{sample_peer.PORT}/hello/{path}"
    ended = peers[0].node.run("curl", "-sS", "--fail-with-body", "-m", "20", *options, url)
    assert (ended.returncode != 0) is fails, ended.stdout + ended.stderr
    return ended.stdout


def test_a_request_finds_the_replica_of_the_other_machine_as_its_client_sent_it(peers: list[Peer]) -> None:
    told = json.loads(asked(peers, "-H", "X-Kept: yes"))

    assert told["node"] == "two"
    assert told["headers"]["x-kept"] == "yes"
    assert told["headers"]["x-forwarded-prefix"] == "/hello"
    assert told["headers"]["x-forwarded-for"] == peers[0].node.address


def test_it_is_seen_where_its_client_came_with_the_replica_that_the_other_machine_chose(
    peers: list[Peer],
) -> None:
    def entries(peer: Peer) -> list[str]:
        log = peer.node.run("cat", "/tmp/ingress/access.log").stdout
        return [line for line in log.splitlines() if '"request_id":"once"' in line]

    answer = asked(peers, "-i", "-H", "X-Request-Id: once")

    assert "x-flyteray-served" not in answer.lower()
    [entry] = eventually(lambda: entries(peers[0]))
    assert json.loads(entry)["replica"] == f"on {peers[1].node.address}"
    assert entries(peers[1]) == []


def test_it_counts_for_scaling_where_its_replica_is(peers: list[Peer]) -> None:
    def counted(peer: Peer) -> int:
        peer.do("open('/tmp/counted', 'w').write(str(peer.ingress.traffic([0])[0][1]))")
        return int(peer.node.run("cat", "/tmp/counted").stdout)

    before = [counted(peer) for peer in peers[:2]]
    for _ in range(3):
        asked(peers)

    assert [counted(peer) - known for peer, known in zip(peers, before, strict=False)] == [0, 3]


@pytest.mark.parametrize("options", [(), ("-H", "Transfer-Encoding: chunked")], ids=["sized", "chunked"])
def test_a_body_arrives_whole(peers: list[Peer], options: tuple[str, ...], tmp_path: Path) -> None:
    body = "/tmp/shared/body"
    peers[0].node.run(sys.executable, "-c", f"open({body!r}, 'wb').write(b'x' * 3_000_000)")

    assert asked(peers, *options, "--data-binary", f"@{body}", path="length") == "3000000"


def test_what_is_open_stays_open_when_the_certificates_are_renewed(peers: list[Peer]) -> None:
    url = f"ws://{peers[0].node.address}:{sample_peer.PORT}/hello/ws"
    client = (sys.executable, "-c", WEBSOCKET, url)
    socket = peers[0].node.popen(*client, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert socket.stdout is not None
    assert socket.stdout.readline() == "two\n"
    before = [peer.node.run("cat", "/tmp/ingress/peer.pem").stdout for peer in peers]

    for peer in peers:
        peer.do("peer.join()")

    assert [peer.node.run("cat", "/tmp/ingress/peer.pem").stdout for peer in peers] != before
    assert say(socket, "still there") == "still there"
    assert json.loads(asked(peers))["node"] == "two"
    socket.kill()


def test_a_crowd_that_waits_is_answered_by_the_other_machine_even_if_that_learns_of_its_replica_last(
    peers: list[Peer],
) -> None:
    one, two, _ = peers
    ports = {peer.node.address: peer.port for peer in peers}
    for peer in peers:
        peer.do(f"peer.apply([], {ports!r})")
    url = f"http://{one.node.address}:{sample_peer.PORT}/hello/who"
    crowd = one.node.popen(sys.executable, "-c", CROWD, url, "100", stdout=subprocess.PIPE)
    for peer in (one, two):
        peer.do("eventually(lambda: peer.ingress._activator._held == 100)")
        peer.do(f"peer.apply({[two.node.address]!r}, {ports!r})")

    assert json.loads(crowd.communicate(timeout=60)[0]) == {"200": 100}


def test_a_crowd_that_comes_at_once_is_answered_by_the_other_machine(peers: list[Peer]) -> None:
    one, two, _ = peers
    know(peers, [two])
    url = f"http://{one.node.address}:{sample_peer.PORT}/hello/who"
    crowd = one.node.popen(sys.executable, "-c", CROWD, url, "400", stdout=subprocess.PIPE)

    assert json.loads(crowd.communicate(timeout=60)[0]) == {"200": 400}


@pytest.mark.parametrize("sticky", [False, True])
def test_grpc_goes_through_to_the_other_machine(peers: list[Peer], sticky: bool) -> None:
    one, two, _ = peers
    know(peers, [two], over_http2=True, sticky=sticky)

    assert called(one) == "two of 100 and 4194304 bytes: two hello, two again"


def test_grpc_that_waits_is_answered_by_the_other_machine(peers: list[Peer]) -> None:
    one, two, _ = peers
    know(peers, [], over_http2=True)
    waiting = one.node.popen(*calls(one), stdout=subprocess.PIPE)
    one.do("eventually(lambda: peer.ingress._activator._held > 0)")
    know(peers, [two], over_http2=True)

    assert waiting.communicate(timeout=60)[0].strip() == "two of 100 and 4194304 bytes: two hello, two again"


def calls(peer: Peer) -> tuple[str, ...]:
    """The command that calls the app at the ingress of a machine."""
    return (sys.executable, "-c", CALLS, f"{peer.node.address}:{sample_peer.PORT}")


def called(peer: Peer) -> str:
    ended = peer.node.run(*calls(peer))
    return ended.stdout.strip() or ended.stderr


def test_an_error_is_json_where_an_app_has_replicas_here_and_elsewhere(peers: list[Peer]) -> None:
    know(peers, peers[:2], timeout_ms=200)

    told = asked(peers, "-H", "Accept: application/json", path="slow", fails=True)

    assert json.loads(told)["error"].startswith("App 'hello' did not answer within the 200 ms")


def test_what_a_dying_machine_says_is_no_answer(peers: list[Peer]) -> None:
    one, two, three = peers
    know([one, three], [two, three], sticky=True)
    know([two], [two], sticky=True)  # else it would ask the third
    keeping_to_the_second = ("-H", "Cookie: flyteray-b0=1")
    assert json.loads(asked(peers, *keeping_to_the_second))["node"] == "two"

    assert json.loads(asked(peers, *keeping_to_the_second, path="end")) == "three"

    for _ in range(10):
        assert json.loads(asked(peers, *keeping_to_the_second))["node"] == "three"
    broken = asked(peers, "-w", "%{http_code}", *keeping_to_the_second, "-d", "x", path="length", fails=True)
    assert broken.endswith("502")
    assert "App 'hello' broke the connection" in broken
