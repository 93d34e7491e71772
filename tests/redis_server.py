"""A Redis server on a machine of a test, from Debian's packages: what Ray keeps of a cluster while its head is away."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.nodes import Node
from tests.waiting import eventually

_PORT = 6380


def missing() -> str | None:
    """Why no server can be started here; None: it can."""
    return None if shutil.which("redis-server") else "no Redis: apt-get install redis-server"


def required() -> pytest.MarkDecorator:
    """Skips tests where no server can be started, and says why."""
    return pytest.mark.skipif(missing() is not None, reason=missing() or "")


def start(node: Node) -> dict[str, str]:
    """Start a server that ends with its machine; the variables with which a head keeps there what it knows."""
    command = ("redis-server", "--port", str(_PORT), "--bind", node.address, "--protected-mode", "no")
    node.popen(*command, "--save", "", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ping = ("redis-cli", "-h", node.address, "-p", str(_PORT), "ping")
    eventually(lambda: node.run(*ping).stdout == "PONG\n")
    return {"RAY_REDIS_ADDRESS": f"{node.address}:{_PORT}", "RAY_external_storage_namespace": "tests"}
