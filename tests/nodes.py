"""Machines of a test: network namespaces with an address, processes, ``/tmp`` and shared memory of their own.

They hang on a switch that is a namespace too, so nothing of this machine's own network is touched. What a test stops,
cuts or silences is a node of its own; this machine goes on.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
TOKEN = "t" * 64
RAY_PORT = 6379
# Ray's workers are no less than what else runs on a machine, and begin when they are needed: those that Ray starts
# ahead have the packages and variables of no environment, so nothing of flyteray's runs in them.
# Nobody looks at how Ray itself is: what it measures of itself is a tenth of what a cluster costs that does nothing.
RAY_VARIABLES = {
    "RAY_worker_niceness": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_event_stats": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}
_NO_RAY_CLIENT = {"RAY_START_HOOK": "flyteray._cluster.local.configure_head"}
_SHARED = "/tmp/shared"  # one folder for all nodes: a mount that everybody has
# Its last line takes in what has ended, as an init does: a process that is left would look alive to who watches it.
_SETUP = r"""
set -e
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
mount -t tmpfs none /mnt && mkdir /mnt/outer && mount --rbind /tmp /mnt/outer
mount -t tmpfs none /tmp && chmod 1777 /tmp
mount -t tmpfs none /dev/shm
bring() { mkdir -p "$2" && mount --rbind "$1" "$2"; }
for kept in "$@"; do
  case "$kept" in
    /tmp/*) bring "/mnt/outer/${kept#/tmp/}" "$kept" ;;
    *:/tmp/*) bring "/mnt/outer/${kept%%:*}" "${kept#*:}" ;;
  esac
done
mkdir -p "$HOME"
echo ready
sleep infinity &
wait
"""


@functools.cache
def missing() -> str | None:
    """Why there can be no nodes on this machine; None where there can."""
    tools = [name for name in ("ip", "bridge", "unshare", "nsenter") if shutil.which(name) is None]
    if tools:
        return f"needs {', '.join(tools)} (Debian: iproute2, util-linux)"
    if os.geteuid() != 0:
        return "needs root, for network namespaces"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "ip", "link", "add", "probe0", "type", "bridge"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"network namespaces are not allowed here: {probe.stderr.strip()}" if probe.returncode else None


def required() -> pytest.MarkDecorator:
    """Skips tests where there can be no nodes, and says why."""
    return pytest.mark.skipif(missing() is not None, reason=f"no machines here: {missing()}")


class Node:
    """A machine on the switch. ``alive`` until it is killed; its processes see no other node's."""

    def __init__(self, number: int, switch: Switch, shared: Path | None, name: str) -> None:
        self._shared = shared
        self.number, self.name, self.address = number, name, f"10.77.0.{number}"
        self._hardware = f"02:00:00:00:00:{number:02x}"
        self._switch = switch
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": "/tmp/home",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONUNBUFFERED": "1",
            **RAY_VARIABLES,
        }
        kept = sorted({str(REPOSITORY), sys.prefix, sys.base_prefix})
        if shared is not None:
            kept.append(f"{shared.relative_to('/tmp')}:{_SHARED}")
        self._outer = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--"),
                *("sh", "-c", f"hostname {name}; {_SETUP}", "node", *kept),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # unshare's own complaint when it is killed
            text=True,
            env=self.environment,
        )
        assert self._outer.stdout is not None
        if self._outer.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        self.pid = int(children[0])
        switch.plug(self)
        _run(*self._enter(), "ip", "link", "set", "eth0", "address", self._hardware)
        _run(*self._enter(), "ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        _run(*self._enter(), "ip", "link", "set", "eth0", "up")
        self._tasks: list[subprocess.Popen[str]] = []

    def popen(
        self, *argv: str, env: Mapping[str, str] | None = None, **options: object
    ) -> subprocess.Popen[str]:
        """Start a command on the node."""
        started: subprocess.Popen[str] = subprocess.Popen(  # type: ignore[call-overload]
            [*self._enter(), *argv], env={**self.environment, **(env or {})}, text=True, **options
        )
        self._tasks.append(started)
        return started

    def run(
        self, *argv: str, env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node to its end; the result has what it printed."""
        return subprocess.run(
            [*self._enter(), *argv],
            env={**self.environment, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def python(
        self, code: str, *arguments: str, env: Mapping[str, str] | None = None, timeout_s: float = 120.0
    ) -> str:
        """The output of a Python program on the node, which must end well."""
        ended = self.run(sys.executable, "-c", code, *arguments, env=env, timeout_s=timeout_s)
        assert ended.returncode == 0, f"{self.name}: {ended.stdout}\n{ended.stderr}"
        return ended.stdout

    def start_ray(
        self,
        head: Node | None = None,
        cpus: int = 2,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        dashboard: bool = False,
    ) -> None:
        """Make the node one of a Ray cluster: that of ``head``, or the head of a new one.

        It has nothing beside that flyteray has no use for; a ``dashboard`` is for Ray's jobs.
        """
        if head:
            where, hook = [f"--address={head.address}:{RAY_PORT}"], {}
        else:
            where, hook = ["--head", f"--port={RAY_PORT}", "--dashboard-host=0.0.0.0"], _NO_RAY_CLIENT
            where.append(f"--include-dashboard={dashboard}")
        ended = self.run(
            *("ray", "start", *where, f"--node-ip-address={self.address}", f"--num-cpus={cpus}"),
            *("--object-store-memory=100000000", "--disable-usage-stats", "--include-log-monitor=false"),
            *options,
            env={**hook, **(env or {})},
            timeout_s=240,
        )
        assert ended.returncode == 0, f"{self.name}: {ended.stdout}\n{ended.stderr}"

    def know(self, other: Node) -> None:
        """Find another node for good, whether it answers or not."""
        at = (other.address, "lladdr", other._hardware, "dev", "eth0")
        _run(*self._enter(), "ip", "neigh", "replace", *at, "nud", "permanent")

    def kill(self) -> None:
        """End every process of the node at once, as when its power goes."""
        if self._outer.poll() is None:
            os.kill(self.pid, signal.SIGKILL)
            self._outer.wait(timeout=10)
        for task in self._tasks:
            task.wait(timeout=10)

    def again(self) -> Node:
        """The machine after it was killed and has come back, with nothing of what it had."""
        self._switch.pull(self)
        return Node(self.number, self._switch, self._shared, self.name)

    def silence(self) -> None:
        """Drop every packet from and to the node: nobody is told, connections stay open."""
        self._switch.unplug(self)

    def part_from(self, other: Node, parted: bool = True) -> None:
        """Let this and another node not reach each other, while both reach the others; or end that."""
        self._switch.part([self, other], parted)

    def speak(self) -> None:
        """End :meth:`silence`."""
        self._switch.plug_again(self)

    def _enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-u", "-i", "-p", "-w/", "--"]


class Switch:
    """The network that the nodes are on."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [
                *("unshare", "--net", "--fork", "--kill-child", "--", "sh", "-c"),
                "ip link add br0 type bridge && ip link set br0 up && echo ready && exec sleep infinity",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("the switch did not start")
        self._pid = int(
            Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()[0]
        )

    def plug(self, node: Node) -> None:
        """Give a node its cable."""
        end = f"v{node.number}"
        self._ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", str(node.pid))
        self._ip("link", "set", end, "master", "br0", "up")

    def pull(self, node: Node) -> None:
        """Take out the cable of a node that was killed; the kernel does so too, some time."""
        subprocess.run(
            [*self._inside(), "ip", "link", "del", f"v{node.number}"], capture_output=True, check=False
        )

    def unplug(self, node: Node) -> None:
        """Have the switch take nothing from a node and give it nothing; its cable stays in."""
        self._ip("link", "set", f"v{node.number}", "nomaster")

    def plug_again(self, node: Node) -> None:
        """End :meth:`unplug`."""
        self._ip("link", "set", f"v{node.number}", "master", "br0")

    def part(self, nodes: Sequence[Node], parted: bool = True) -> None:
        """Let these nodes not reach each other, while all of them reach the others."""
        for node in nodes:
            self._enter(
                "bridge", "link", "set", "dev", f"v{node.number}", "isolated", "on" if parted else "off"
            )

    def close(self) -> None:
        """End the network."""
        self._process.kill()
        self._process.wait(timeout=10)

    def _ip(self, *arguments: str) -> None:
        self._enter("ip", *arguments)

    def _enter(self, *argv: str) -> None:
        _run(*self._inside(), *argv)

    def _inside(self) -> list[str]:
        return ["nsenter", "-t", str(self._pid), "-n", "--"]


@contextlib.contextmanager
def machines(names: Sequence[str], shared: Path | None = None) -> Iterator[list[Node]]:
    """Nodes of these names, which know each other's addresses; ``shared`` is a folder below /tmp that all have.

    Nothing of them is left afterwards.
    """
    switch = Switch()
    nodes: list[Node] = []
    try:
        for number, name in enumerate(names, 1):
            nodes.append(Node(number, switch, shared, name))
        for node in nodes:
            for other in nodes:
                if other is not node:  # else a silent node is soon one that is known to be away
                    node.know(other)
        yield nodes
    finally:
        for node in nodes:
            node.kill()
        switch.close()


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True)
