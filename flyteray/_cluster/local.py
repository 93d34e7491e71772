"""The local cluster: a Ray head in the background that outlives the script which started it.

Everything it opens listens on 127.0.0.1 and needs the token. Its state is ``cluster.json`` in the home, written before
the first process starts, so that after a crash it tells what to clean up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from flyteray import _private
from flyteray._cluster import processes
from flyteray._cluster.processes import Leader
from flyteray._cluster.workers import secret_files
from flyteray._declare.secret import MOUNT
from flyteray._machine.file_lock import alone
from flyteray._plan.bundle import alias
from flyteray._settings import Settings
from flyteray.errors import ClusterError

# Drivers on a cluster bound to 127.0.0.1 need it as well: otherwise Ray turns 127.0.0.1 into the machine's first
# address. It is the switch that makes loopback Ray's own address on laptops.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_DASHBOARD = ("RAY_API_SERVER_ADDRESS", "RAY_DASHBOARD_ADDRESS")  # `ray job` reads the one, `serve` the other
VARIABLES = (*LOOPBACK, "RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", *_DASHBOARD)
"""The variables of :meth:`LocalCluster.shell_environment`."""
FOREIGN = ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
"""The variables of another cluster, or of a Ray job, which nothing that a local cluster starts inherits."""

_HEAD_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_START_HOOK": "flyteray._cluster.local.configure_head",
    "RAY_raylet_start_wait_time_s": "60",  # a busy laptop is slow, not broken
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # a head that died on a single machine does not come back
    "RAY_idle_worker_killing_time_threshold_ms": "600000",  # a warm worker saves seconds, and costs only memory
    "RAY_prestart_worker_first_driver": "0",  # one per core, without the packages and variables of any environment
    "AUTOSCALER_METRIC_PORT": "0",  # fixed otherwise, and there may be two clusters
    "DASHBOARD_METRIC_PORT": "0",
}
_TAIL_LINES = 20
_GAVE_UP = "The current node timed out during startup"  # Ray's words, after a time that can't be set


def configure_head(parameters: Any, head: bool) -> None:
    """Have no Ray Client server beside the head: nobody needs it here, its port is fixed and its process costs 100 MB.

    ``ray start`` calls this as its hook, for what it has no option for.
    """
    parameters.ray_client_server_port = None
    del os.environ["RAY_START_HOOK"]  # a Ray that a user's task starts is none of ours


@dataclass(frozen=True)
class LocalCluster:
    """A local cluster that runs.

    ``address`` is what ``ray.init`` takes, ``dashboard_url`` what ``ray job submit`` takes (None: the dashboard did not
    come up), ``temp_dir`` where Ray keeps sockets and logs.
    """

    id: str
    address: str
    dashboard_url: str | None
    temp_dir: Path
    token_path: Path
    started_at: datetime
    leader: Leader

    def pids(self) -> list[int]:
        """The cluster's processes, those of the user's tasks and apps included."""
        return [process.pid for process in processes.members(self.id, self.leader)]

    def environment(self) -> dict[str, str]:
        """The environment variables with which plain Ray connects to the cluster."""
        return {
            **LOOPBACK,
            "RAY_ADDRESS": self.address,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
        }

    def shell_environment(self) -> dict[str, str]:
        """The environment variables with which Ray's commands reach it: those of :data:`VARIABLES` that there are."""
        dashboard = {} if self.dashboard_url is None else dict.fromkeys(_DASHBOARD, self.dashboard_url)
        return self.environment() | dashboard


def find(settings: Settings) -> LocalCluster | None:
    """The local cluster of this home, if it runs."""
    state = _read(settings)
    if state.get("phase") != "running":
        return None
    cluster = _cluster_of(settings, state)
    return cluster if cluster.leader.is_alive() else None


def _cluster_of(settings: Settings, state: dict[str, Any]) -> LocalCluster:
    return LocalCluster(
        id=state["id"],
        address=state["address"],
        dashboard_url=state["dashboard_url"],
        temp_dir=Path(state["temp_dir"]),
        token_path=settings.home / "token",
        started_at=datetime.fromisoformat(state["started_at"]),
        leader=Leader(**state["leader"]),
    )


def identity(settings: Settings) -> tuple[str, str]:
    """What is true of the local cluster of this home and of no other, before and after a restart; and words for it.

    Of a home on a machine there is one, which has ended surely when the next one starts.
    """
    host = socket.gethostname()
    token = hashlib.sha256(_ensure_token(settings).read_bytes()).hexdigest()[:16]
    return f"{host}:{token}", f"the local cluster of {settings.home} on {host}"


def start(settings: Settings, quiet: bool = False) -> LocalCluster:
    """The local cluster of this home, started unless it runs; stderr tells of it unless ``quiet``.

    Two processes that come at the same time start it once. An earlier one that crashed is ended first. Where it does
    not start, a ClusterError ends with Ray's own words, and nothing of it is left.
    """
    _private.tightened(settings.home)
    if Path(settings.storage).is_relative_to(settings.home):
        _private.tightened(Path(settings.storage))
    with alone(settings.home / "cluster.lock"):
        if cluster := find(settings):
            return cluster
        _clean_up(settings)
        try:
            with _progress("Starting a local Ray cluster", quiet) as say:
                cluster = _start(settings)
                where = f", dashboard at {cluster.dashboard_url}" if cluster.dashboard_url else ""
                say(f"on {cluster.address}{where}; `flyteray down` ends it")
        except BaseException:  # an interrupt as well leaves nothing behind
            _clean_up(settings)
            raise
        return cluster


def stop(settings: Settings) -> bool:
    """End the local cluster of this home with all that runs on it; storage stays. False if there is nothing to end."""
    if not _state_path(settings).exists():
        return False
    with alone(settings.home / "cluster.lock"):
        return _clean_up(settings)


@contextlib.contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Show on stderr the seconds that something takes, and a line when it is done."""
    if quiet:
        yield lambda _: None
        return
    from rich.console import Console  # only where something is shown
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    began = time.monotonic()
    ending: list[str] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(f"{what} …")
        yield ending.append
    done = f"{what}: done in {time.monotonic() - began:.1f} s, {' '.join(ending)}."
    console.print(done, highlight=False, soft_wrap=True)


class _RayGaveUpError(ClusterError):
    """Ray has waited for its own processes for the thirty seconds that it gives them."""


def _start(settings: Settings) -> LocalCluster:
    deadline = time.monotonic() + settings.start_timeout_s
    while True:
        try:
            return _start_once(settings, deadline)
        except _RayGaveUpError:
            if time.monotonic() > deadline:
                raise
            _clean_up(settings)  # the machine is busy: what it has read by now it need not read again


def _start_once(settings: Settings, deadline: float) -> LocalCluster:
    token_path = _ensure_token(settings)
    temp_dir = settings.temp_dir
    _private_folder(temp_dir)
    state: dict[str, Any] = {
        "id": secrets.token_hex(8),
        "phase": "starting",
        "temp_dir": str(temp_dir),
        "started_at": datetime.now(timezone.utc).isoformat(),
        "leader": None,
    }
    _write(settings, state)
    log_path = settings.home / "logs" / "cluster.log"
    _private.folder(log_path.parent)
    with _private.opened(log_path, "wb") as log:
        child = subprocess.Popen(
            _command(settings, temp_dir / "ray"),
            env=_environment(settings, state["id"], token_path, temp_dir),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=settings.home,
            start_new_session=True,
        )
    state["leader"] = asdict(Leader.of(child.pid))
    _write(settings, state)
    file = temp_dir / "ray" / "ray_current_cluster"
    state["address"] = _await_address(child, file, log_path, settings, deadline)
    dashboard = re.search(r"http://127\.0\.0\.1:\d+", log_path.read_text(errors="replace"))
    state |= {"phase": "running", "dashboard_url": dashboard.group() if dashboard else None}
    _write(settings, state)
    return _cluster_of(settings, state)


def _command(settings: Settings, ray_dir: Path) -> list[str]:
    command = [sys.executable, "-m", "ray.scripts.scripts", "start"]
    command += ["--head", "--block", "--disable-usage-stats", "--log-color=false", f"--temp-dir={ray_dir}"]
    command += [
        "--port=0",
        "--dashboard-host=127.0.0.1",
        "--dashboard-port=0",
        "--dashboard-agent-listen-port=0",
    ]
    if settings.num_cpus is not None:
        command.append(f"--num-cpus={settings.num_cpus}")
    if settings.object_store_memory is not None:
        command.append(f"--object-store-memory={settings.object_store_memory}")
    return command


def _environment(settings: Settings, cluster_id: str, token_path: Path, temp_dir: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    environment.pop(alias.MARK, None)  # its workers run code of both kinds
    if python_path := alias.without(environment.pop("PYTHONPATH", None)):
        environment["PYTHONPATH"] = python_path
    return environment | {
        **_HEAD_ENVIRONMENT,
        **LOOPBACK,
        processes.MARK: cluster_id,
        "FLYTERAY_HOME": str(settings.home),
        "FLYTERAY_CACHE": str(temp_dir),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        # `python` in `ray job submit -- python x.py` is the one that has flyteray.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)]),
    }


def _await_address(
    child: subprocess.Popen[bytes], file: Path, log_path: Path, settings: Settings, deadline: float
) -> str:
    while not (file.exists() and (address := file.read_text().strip())):
        if (code := child.poll()) is not None:
            tail = _tail(log_path)
            kind = _RayGaveUpError if _GAVE_UP in tail else ClusterError
            raise kind(f"The local Ray cluster did not start: Ray ended with code {code}.{tail}")
        if time.monotonic() > deadline:
            raise ClusterError(
                f"The local Ray cluster did not start within {settings.start_timeout_s:g} s "
                f"(FLYTERAY_START_TIMEOUT raises this).{_tail(log_path)}"
            )
        time.sleep(0.05)
    return address


def _tail(log_path: Path) -> str:
    tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:])
    return f" The end of {log_path}:\n{tail}"


def _clean_up(settings: Settings) -> bool:
    """End the cluster that the state names, whole or half started, and forget it; False if there was none."""
    state = _read(settings)
    if not state:
        _state_path(settings).unlink(missing_ok=True)
        return False
    leader = Leader(**state["leader"]) if state.get("leader") else None
    processes.end(lambda: processes.members(state["id"], leader))
    shutil.rmtree(state["temp_dir"], ignore_errors=True)
    secret_files.sweep(MOUNT)  # of processes that had no time to do it
    _state_path(settings).unlink(missing_ok=True)
    return True


def _state_path(settings: Settings) -> Path:
    return settings.home / "cluster.json"


def _read(settings: Settings) -> dict[str, Any]:
    try:
        state = json.loads(_state_path(settings).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return state if isinstance(state, dict) and "id" in state and "temp_dir" in state else {}


def _write(settings: Settings, state: dict[str, Any]) -> None:
    _private.replace(_state_path(settings), json.dumps(state, indent=2) + "\n")


def _ensure_token(settings: Settings) -> Path:
    path = settings.home / "token"
    if not path.exists() or not path.read_text().strip():
        _private.replace(path, secrets.token_hex(32))
    path.chmod(_private.FILE)
    return path


def _private_folder(path: Path) -> None:
    """Make a folder that is ours alone around those that Ray makes writable for all."""
    path.mkdir(mode=_private.FOLDER, exist_ok=True)
    facts = path.lstat()
    if path.is_symlink() or facts.st_uid != os.getuid():
        raise ClusterError(
            f"{path} belongs to somebody else. Remove it, or set FLYTERAY_HOME to another folder."
        )
    path.chmod(_private.FOLDER)
