"""Nodes that find another folder at the storage's path are told before anything is written there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flyteray._cluster import local
from flyteray._settings import Settings
from flyteray.storage import open_storage
from flyteray.storage.owner import Claim, Owner

# As `ray start` makes one, which refuses to join what is bound to 127.0.0.1.
NODE = """
import signal, sys
from ray._private.node import Node
from ray._private.parameter import RayParams
_, cluster, address, cpus = sys.argv
free = dict.fromkeys(["node_manager_port", "dashboard_agent_listen_port", "metrics_export_port"], 0)
Node(
    RayParams(
        gcs_address=cluster,
        node_ip_address=address,
        num_cpus=int(cpus),
        object_store_memory=80 * 2**20,
        include_log_monitor=False,
        **free,
    ),
    head=False,
    shutdown_at_exit=True,
)
signal.sigwait([signal.SIGTERM])
"""
PROGRAM = """
import sys, time
from pathlib import Path
import flyteray as flyte
from flyteray._cluster import nodes
from flyteray._client.session.session import session
from flyteray.errors import StorageError

env = flyte.TaskEnvironment(name="where")

@env.task
def leave(path: str) -> int:
    Path(path).write_text("was here")
    return 42

def told(left: str, cpus: float, wanted: int) -> object:
    session().connect()
    while len(nodes.addresses()) < wanted:
        time.sleep(0.05)
    context = flyte.with_runcontext(raw_data_path=str(Path(left).with_name("raw")))
    return context.run(leave.override(resources=flyte.Resources(cpu=cpus)), left).outputs()[0]

if __name__ == "__main__":
    for line in sys.stdin:  # the CPUs that are asked for, and the nodes that are waited for
        cpus, wanted = line.split()
        try:
            print(told(sys.argv[1], float(cpus), int(wanted)), flush=True)
        except StorageError as error:
            print(type(error).__name__, *str(error).split(), flush=True)  # one line
"""
UNSHARED = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"']

pytestmark = pytest.mark.timeout(600)

Join = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A head with one CPU, in a home of its own."""
    if subprocess.run([*UNSHARED, str(tmp_path), "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mounts of its own for a process here")
    for name in [name for name in os.environ if name.startswith(("RAY_", "FLYTERAY_"))]:
        monkeypatch.delenv(name)
    (tmp_path / "storage").mkdir()
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FLYTERAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("FLYTERAY_NUM_CPUS", "1")
    settings = Settings.load()
    local.start(settings, quiet=True)
    yield settings
    local.stop(settings)


@pytest.fixture
def join(head: Settings) -> Iterator[Join]:
    """Adds a node of some CPUs to which the storage's folder is another one."""
    found = local.find(head)
    assert found is not None
    with contextlib.ExitStack() as ends:

        def joined(address: str, cpus: int) -> subprocess.Popen[bytes]:
            command = [
                *UNSHARED,
                head.storage,
                sys.executable,
                "-c",
                NODE,
                found.address,
                address,
                str(cpus),
            ]
            environment = {**os.environ, **found.environment(), "FLYTERAY_CLUSTER": found.id}
            node = subprocess.Popen(command, env=environment)
            ends.callback(node.wait)
            ends.callback(node.terminate)
            return node

        yield joined


class Program:
    """The program, which stays for what it is asked next."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "program.py", str(folder / "left")]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True)

    def begins(self, cpus: int, nodes: int) -> None:
        """Ask for a run on a node with so many CPUs, as soon as there are so many nodes."""
        assert self.process.stdin is not None
        print(cpus, nodes, file=self.process.stdin, flush=True)

    def ends(self) -> str:
        """What came of it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def told(self, cpus: int, nodes: int) -> str:
        self.begins(cpus, nodes)
        return self.ends()


@pytest.fixture
def program(head: Settings, tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    program.process.kill()
    program.process.communicate()


@contextlib.contextmanager
def another_cluster(storage: str) -> Iterator[None]:
    """Another cluster that has the storage, with a registry of its own, and lives."""
    claim = Claim(open_storage(storage), Owner("another", "another one", "another", "sqlite:////elsewhere"))
    claim.hold()
    ended = threading.Event()

    def live() -> None:
        while not ended.wait(1):
            claim.hold()

    with ThreadPoolExecutor() as pool:
        living = pool.submit(live)
        try:
            yield
        finally:
            ended.set()
            living.result()


def test_a_verb_fails_before_anything_is_lost_until_the_folder_is_shared(
    head: Settings, join: Join, program: Program, tmp_path: Path
) -> None:
    second = join("127.0.0.2", 2)

    with another_cluster(head.storage):
        taken = program.told(cpus=1, nodes=2)
    assert f"StorageTakenError Storage {head.storage} is another cluster's: that of another one" in taken
    assert f"which records it in sqlite:///{head.storage}/registry.sqlite. Name another storage" in taken
    (tmp_path / "storage/owner.json").unlink()  # that one has ended: else its claim would have to lapse

    refused = program.told(cpus=1, nodes=2)

    assert f"StorageNotSharedError Storage {head.storage} is not the same folder on all nodes" in refused
    assert "Another than the head's: 127.0.0.2 (a folder of its own). Mount a shared file system" in refused
    assert list((tmp_path / "storage/bundles").iterdir()) == []

    # Mended, the same verb succeeds, on the very node, and its output is where all read it.
    inside = ["nsenter", "--mount", f"--target={second.pid}"]
    subprocess.run([*inside, "umount", head.storage], check=True)
    (tmp_path / "raw").mkdir()
    subprocess.run(
        [*inside, "mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path / "raw")], check=True
    )
    refused = program.told(cpus=1, nodes=2)
    assert f"Storage {tmp_path}/raw is not the same folder" in refused
    assert "give raw_data_path=s3://" in refused
    subprocess.run([*inside, "umount", str(tmp_path / "raw")], check=True)
    assert program.told(cpus=2, nodes=2) == "42"
    assert list((tmp_path / "raw").iterdir()) == []
    assert len(list((tmp_path / "storage/runs").iterdir())) == 1
    (tmp_path / "left").unlink()

    # A node that joins later is found out before a task begins on it.
    program.begins(cpus=3, nodes=3)
    join("127.0.0.3", 3)
    late = program.ends()
    assert "StorageNotSharedError" in late
    assert "Another than the head's: 127.0.0.3 (a folder of its own)" in late
    assert not (tmp_path / "left").exists()
    assert not (tmp_path / "storage/proof").exists()
