"""Machines that form one Ray cluster with a served app, for tests and benchmarks; see tests/nodes.py."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import nodes, redis_server
from tests.console import Console
from tests.nodes import Node
from tests.waiting import eventually

FOLDER = Path(__file__).parent
PORT = 8800
ENVIRONMENT = {
    "RAY_ADDRESS": f"10.77.0.1:{nodes.RAY_PORT}",
    "FLYTERAY_STORAGE": "/tmp/shared/storage",
    "FLYTERAY_HOST": "0.0.0.0",
    "FLYTERAY_AUTH": "off",
    "FLYTERAY_PORT": str(PORT),
}


@dataclass
class Machines:
    head: Node
    one: Node
    two: Node
    outside: Node
    variables: dict[str, str] = field(default_factory=dict)  # of Ray
    _consoles: dict[Node, Console] = field(default_factory=dict)

    @property
    def all(self) -> list[Node]:
        return [self.head, self.one, self.two]

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.all]

    def end(self, node: Node, command: str) -> None:
        """Kill the processes of a node whose command line begins with this, or whose program it is."""
        node.python(
            "import psutil, sys\n"
            "def named(p): return ' '.join(p.cmdline()).startswith(sys.argv[1]) or p.name() == sys.argv[1]\n"
            "found = [p for p in psutil.process_iter() if named(p)]\n"
            "assert found\n"
            "for p in found: p.kill()",
            command,
        )

    def start(self) -> None:
        """Have the machines be a cluster."""
        self.head.start_ray(env=self.variables)
        for node in (self.one, self.two):
            node.start_ray(self.head, env=self.variables)

    def kill_head(self) -> None:
        """Kill the head's machine; the scripts end, and are others afterwards."""
        for console in self._consoles.values():
            console.end()
        self._consoles.clear()
        self.head.kill()

    def replace_head(self, address: str | None = None) -> None:
        """Have the head's machine be back after it was killed, with nothing of what it had.

        With an ``address`` it is another one's, and still found at its former one, as by the name of a Service.
        """
        self.head = self._again(self.head)
        if address is not None:
            assert self.head.run("ip", "addr", "add", f"{address}/24", "dev", "eth0").returncode == 0
            self.head.address = address
        self.head.start_ray(env=self.variables)

    def replace(self, name: str) -> None:
        """Have a worker be back after it was killed, with nothing of what it had."""
        node = self._again(self.worker(name))
        self.one, self.two = (node, self.two) if name == self.one.name else (self.one, node)
        node.start_ray(self.head, env=self.variables)

    def worker(self, name: str) -> Node:
        """The worker of a name."""
        [node] = (node for node in (self.one, self.two) if node.name == name)
        return node

    def _again(self, node: Node) -> Node:
        back = node.again()
        for other in (self.head, self.one, self.two, self.outside):
            if other.number != back.number:
                back.know(other)
        return back

    def begun(self, node: Node) -> list[str]:
        """The command lines of what Ray and flyteray have started on a node."""
        lines = node.python(
            "import psutil\n"
            "for p in psutil.process_iter(['cmdline']):\n"
            "    print(' '.join(p.info['cmdline'] or ())[:200])"
        )
        ours = ("raylet/raylet", "ray::", "haproxy", "flyteray/")
        return [line for line in lines.splitlines() if any(word in line for word in ours)]

    def replicas(self) -> list[str]:
        """The addresses of the machines with a replica of the app that is ready."""
        return list(self.script(self.one, "replicas"))

    def script(self, node: Node, *words: str) -> Any:
        """What the sample script tells on a node, where it stays for what it is asked next."""
        if node not in self._consoles:
            self._consoles[node] = Console(node, FOLDER / "sample_nodes.py", ENVIRONMENT)
        return self._consoles[node].asked(*words)

    def ran_on_all(self, node: Node, calls: str) -> list[list[Any]]:
        """What six tasks at once say that a node asked for, each of which calls the app; each machine has one.

        A machine may be slower with its first worker than the others are with all six.
        """

        def ran() -> list[list[Any]] | None:
            told = self.script(node, "run", calls)
            return told if {where for where, _, _ in told} == {node.name for node in self.all} else None

        found = eventually(ran)
        assert found is not None
        return found

    def asked(self, url: str, *options: str, by: Node | None = None) -> tuple[int, str]:
        """Status and body of an answer to somebody outside."""
        ended = (by or self.outside).run("curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *options, url)
        body, _, status = ended.stdout.rpartition("\n")
        return int(status), body or ended.stderr

    def load(self, seconds: float, urls: list[str], rate: float = 20) -> Load:
        """Somebody outside who asks all the time, and has begun; at most for these seconds."""
        command = (sys.executable, str(FOLDER / "node_load.py"), str(seconds), str(rate), "30", *urls)
        process = self.outside.popen(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        return Load(process)


class Load:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def end(self) -> None:
        """Let it end now."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def told(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All answers, and the WebSockets, when it has ended."""
        assert self._process.stdout is not None
        told = json.loads(self._process.stdout.read())
        return told["answers"], told["talks"]


def url(node: Node) -> str:
    return f"http://{node.address}:{PORT}/hello"


@contextlib.contextmanager
def serving(lasting: bool = False, variables: Mapping[str, str] | None = None) -> Iterator[Machines]:
    """Three machines of a cluster, on each of which a replica of the app answers, and a fourth outside of it.

    A ``lasting`` cluster outlives its head: Ray keeps what it knows in a Redis, which is on the fourth machine.
    """
    shared = Path(tempfile.mkdtemp(prefix="flyteray-nodes-", dir="/tmp"))
    try:
        with nodes.machines(["head", "one", "two", "outside"], shared) as (head, one, two, outside):
            kept = redis_server.start(outside) if lasting else {}
            there = Machines(head, one, two, outside, {**kept, **(variables or {})})
            there.start()
            there.script(one, "serve", "hello")
            for node in there.all:
                eventually(lambda node=node: there.asked(f"{url(node)}/who")[0] == 200, every=0.3)  # type: ignore[misc]
            try:
                yield there
            finally:
                for node in there.all:
                    node.kill()  # it may be another one than at the beginning
    finally:
        shutil.rmtree(shared, ignore_errors=True)
