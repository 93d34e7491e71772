"""The background cluster: started once, reachable from this machine only, and ended without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from flyteray._cluster import local, processes
from flyteray._cluster.local import LocalCluster
from flyteray._settings import Settings
from flyteray.errors import ClusterError
from tests.processes import listening
from tests.waiting import eventually

SELF = [sys.executable, "-c"]
CONNECT = """
import ray
from flyteray._cluster.connection import connect
from flyteray._settings import Settings
print(connect(Settings.load(), quiet=True).address)
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
"""
ONE_CLUSTER = """
import os
from pathlib import Path
import flyteray as flyte
from flyteray._client.session.session import session
from flyteray.io import File

storage = session().connect().storage
for same in (None, "auto", "local", os.environ["SAME"]):
    flyte.init(address=same)
try:
    flyte.init(address="10.9.9.9:6379")
except flyte.errors.ClusterError as error:
    print(error)
flyte.init(storage="/nowhere")
file = File.from_local_sync(os.environ["FLYTERAY_HOME"] + "/cluster.json")
print(Path(file.path).is_relative_to(Path(storage, "files")))
"""
NOT_THERE = """
import json, os, sys
from flyteray._cluster.connection import connect
from flyteray._settings import Settings
from flyteray.errors import ClusterError

for address in json.loads(os.environ["ADDRESSES"]):
    try:
        connect(Settings.of({**os.environ, "RAY_ADDRESS": address}), quiet=True)
    except ClusterError as error:
        print(json.dumps([address, str(error)]))
"""
# Ray's own words where its node is not there within thirty seconds; here it is not waited for so long, once.
GIVES_UP_ONCE = """
import os, sys
if "start" in sys.orig_argv and "ray.scripts.scripts" in sys.orig_argv and not os.path.exists(os.environ["GAVE_UP"]):
    open(os.environ["GAVE_UP"], "w").close()
    sys.exit("Exception: The current node timed out during startup. This could happen because some of the raylet ...")
"""


def run(code: str, settings: Settings, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program of its own, as a user's script is."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "FLYTERAY_"))
    }
    ours = {"FLYTERAY_HOME": str(settings.home), "FLYTERAY_NUM_CPUS": "1", **environment}
    return subprocess.run(
        [*SELF, code], env=inherited | ours, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A home of its own; what a test starts in it ends with the test."""
    yield (settings := Settings.of({"FLYTERAY_HOME": str(tmp_path / "home"), "FLYTERAY_NUM_CPUS": "1"}))
    local.stop(settings)


@pytest.fixture
def stray() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that only wait, with an environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(["sleep", "600"], env=os.environ | environment, start_new_session=True)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()


def home_of(cluster: LocalCluster) -> Settings:
    return Settings.of({"FLYTERAY_HOME": str(cluster.token_path.parent)})


def test_everything_listens_on_this_machine_only(cluster: LocalCluster) -> None:
    addresses = {ip for ip, _ in listening(processes.members(cluster.id, cluster.leader))}

    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def test_token_and_temporary_files_are_the_users_alone(cluster: LocalCluster) -> None:
    assert cluster.token_path.stat().st_mode & 0o777 == 0o600
    assert cluster.temp_dir.stat().st_mode & 0o777 == 0o700


def test_starting_again_finds_the_cluster_that_runs(cluster: LocalCluster) -> None:
    assert local.start(home_of(cluster), quiet=True) == cluster


def test_a_script_that_imported_ray_first_connects_as_well(cluster: LocalCluster) -> None:
    assert run("import ray" + CONNECT, home_of(cluster)).stdout.split() == [cluster.address, "42"]


def test_a_process_talks_to_one_cluster_and_keeps_its_files_there(cluster: LocalCluster) -> None:
    done = run(ONE_CLUSTER, home_of(cluster), SAME=cluster.address)

    error, kept = done.stdout.splitlines()
    assert f"connected to the Ray cluster at {cluster.address}" in error
    assert "asks for '10.9.9.9:6379'" in error
    assert kept == "True"


def test_plain_ray_connects_with_the_environment_of_the_cluster(cluster: LocalCluster) -> None:
    code = "import ray; ray.init(log_to_driver=False); print(ray.get_runtime_context().gcs_address)"

    assert run(code, home_of(cluster), **cluster.environment()).stdout.strip() == cluster.address


def test_a_wrong_token_is_refused_within_seconds(cluster: LocalCluster, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)

    refused = run(
        CONNECT,
        Settings.of({"FLYTERAY_HOME": str(tmp_path)}),
        **{
            **cluster.environment(),
            "RAY_AUTH_TOKEN_PATH": str(wrong),
        },
    )

    assert f"The Ray cluster at {cluster.address} refuses our token" in refused.stderr


def test_who_has_no_token_is_told_all_that_it_takes(cluster: LocalCluster, tmp_path: Path) -> None:
    elsewhere = Settings.of({"FLYTERAY_HOME": str(tmp_path)})
    variables = {"RAY_AUTH_MODE": "", "RAY_AUTH_TOKEN": "t" * 64}  # which Ray does not send without the mode

    refused = run(CONNECT, elsewhere, **{**cluster.environment(), **variables})

    assert (
        f"{cluster.address} asks for a token, and there is none here: set RAY_AUTH_MODE=token"
        in refused.stderr
    )


def test_a_cluster_that_is_not_there_is_named_at_once(settings: Settings) -> None:
    problems = {
        "127.0.0.1": "a cluster's own address is host:port, such as 10.0.0.1:6379.",
        "127.0.0.1:1": "No Ray cluster answers at",
        "no-such-host.invalid:6379": "no-such-host.invalid",
        "ray://127.0.0.1:10001": "Ray Client",
        "http://127.0.0.1:8265": "ray job submit --address http://127.0.0.1:8265 ",
    }

    failed = run(NOT_THERE, settings, ADDRESSES=json.dumps([*problems]))

    told = dict(json.loads(line) for line in failed.stdout.splitlines())
    assert told.keys() == problems.keys(), failed.stderr
    for address, problem in problems.items():
        assert problem in told[address]


@pytest.fixture
def given_up_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there when the Ray of this test has given up, which it does once."""
    (tmp_path / "sitecustomize.py").write_text(GIVES_UP_ONCE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("GAVE_UP", str(tmp_path / "gave-up"))
    return tmp_path / "gave-up"


def test_two_homes_have_two_clusters_even_where_ray_gives_up_at_first_and_down_ends_only_its_own(
    cluster: LocalCluster,
    settings: Settings,
    given_up_once: Path,
    stray: Callable[..., subprocess.Popen[bytes]],
) -> None:
    with ThreadPoolExecutor() as threads:  # two starters at the same time
        first, second = threads.map(lambda _: local.start(settings, quiet=True), range(2))
    assert given_up_once.exists()  # as on a busy machine: it was started again
    foreign = stray()
    orphan = stray(**{processes.MARK: first.id})
    before = set(cluster.pids())

    assert first == second
    assert first.address != cluster.address
    assert not set(first.pids()) & before
    assert orphan.pid in first.pids()
    assert run(CONNECT, settings).stdout.split() == [first.address, "42"]

    assert local.stop(settings)

    assert orphan.wait(5) == -signal.SIGTERM
    assert foreign.poll() is None
    assert first.pids() == []
    assert not first.temp_dir.exists()
    assert local.find(settings) is None
    assert not local.stop(settings)
    assert local.find(home_of(cluster)) == cluster


def test_what_a_crashed_start_left_is_ended_by_the_next(
    settings: Settings, stray: Callable[..., subprocess.Popen[bytes]]
) -> None:
    left = stray(**{processes.MARK: "half-started"})
    settings.home.mkdir()
    state = {"id": "half-started", "phase": "starting", "temp_dir": str(settings.temp_dir), "leader": None}
    (settings.home / "cluster.json").write_text(json.dumps(state))
    settings.temp_dir.mkdir()
    rubbish = settings.temp_dir / "rubbish"
    rubbish.touch()

    with pytest.raises(ClusterError, match="did not start within 1 s"):
        local.start(replace(settings, start_timeout_s=1), quiet=True)

    assert left.wait(60) == -signal.SIGTERM
    assert not rubbish.exists()


def test_a_start_that_fails_says_why_and_leaves_nothing(settings: Settings) -> None:
    settings.temp_dir.mkdir(mode=0o700)
    (settings.temp_dir / "ray").touch()  # where Ray wants a folder

    with pytest.raises(
        ClusterError, match=r"(?s)Ray ended with code.*The end of .*cluster\.log:.*FileExistsError"
    ):
        local.start(settings, quiet=True)

    assert not settings.temp_dir.exists()
    assert local.find(settings) is None


def test_an_interrupted_start_leaves_nothing(settings: Settings) -> None:
    code = "from flyteray._cluster import local; from flyteray._settings import Settings; local.start(Settings.load())"
    environment = os.environ | {"FLYTERAY_HOME": str(settings.home), "FLYTERAY_NUM_CPUS": "1"}
    state = settings.home / "cluster.json"
    with subprocess.Popen([*SELF, code], env=environment, stderr=subprocess.DEVNULL) as starter:
        eventually(lambda: state.exists() and json.loads(state.read_text())["leader"])
        mark = json.loads(state.read_text())["id"]
        starter.send_signal(signal.SIGINT)

    assert starter.returncode != 0
    assert processes.members(mark) == []
    assert not state.exists()


def test_a_state_of_before_a_reboot_is_no_cluster(settings: Settings) -> None:
    settings.home.mkdir()
    state = {
        "id": "of-yesterday",
        "phase": "running",
        "temp_dir": str(settings.temp_dir),
        "address": "127.0.0.1:6379",
        "dashboard_url": None,
        "started_at": "2026-01-01T00:00:00+00:00",
        "leader": {"pid": os.getpid(), "created": 1.0},  # the pid is in use again, by somebody else
    }
    (settings.home / "cluster.json").write_text(json.dumps(state))

    assert local.find(settings) is None
    assert local.stop(settings)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"phase": "running"}'])
def test_a_broken_state_file_is_no_cluster(content: str, settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "cluster.json").write_text(content)

    assert local.find(settings) is None
    assert not local.stop(settings)
