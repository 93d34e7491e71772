"""What the benchmarks share: a cluster of their own, load from wrk, a table, a JSON file."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"

_FOREIGN = ("RAY_", "FLYTERAY_")  # variables that would change what is measured


def forget_settings() -> None:
    """Take the variables out of this process's environment that would change what is measured."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]


@contextlib.contextmanager
def local_cluster(
    num_cpus: int = 2,
    object_store_memory: int | None = None,
    auth: bool = False,
    tls: tuple[Path, Path] | None = None,
    access_log: bool = False,
) -> Iterator[None]:
    """A local cluster in a temporary home, to which flyteray's verbs and Ray in this process connect.

    With ``auth`` its apps ask for keys; ``tls`` are the files of a certificate and its key, and with ``access_log``
    an entry of each request is written.
    """
    # Deferred: children of the benchmarks import this module and need no Ray.
    import ray

    from flyteray._cluster import local
    from flyteray._settings import Settings

    home = Path(tempfile.mkdtemp(prefix="flyteray-bench-"))
    forget_settings()
    os.environ |= {"FLYTERAY_HOME": str(home), "FLYTERAY_NUM_CPUS": str(num_cpus)}
    os.environ["FLYTERAY_AUTH"] = "on" if auth else "off"
    os.environ["FLYTERAY_ACCESS_LOG"] = "on" if access_log else "off"
    if tls is not None:
        os.environ["FLYTERAY_TLS_CERTIFICATE"], os.environ["FLYTERAY_TLS_KEY"] = map(str, tls)
    if object_store_memory is not None:
        os.environ["FLYTERAY_OBJECT_STORE_MEMORY"] = str(object_store_memory)
    settings = Settings.load()
    local.start(settings)
    try:
        yield
    finally:
        ray.shutdown()
        local.stop(settings)
        shutil.rmtree(home, ignore_errors=True)


def connect() -> None:
    """Connect this process to the cluster as plain Ray does, before flyteray has started anything on it."""
    from flyteray._cluster.connection import connect  # deferred: it needs Ray
    from flyteray._settings import Settings

    connect(Settings.load())


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


@dataclass(frozen=True)
class Load:
    """What wrk measured: requests per second, latencies in milliseconds, answers that were no 2xx or 3xx."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int


def wrk(url: str, connections: int, seconds: float, host: str | None = None, key: str | None = None) -> Load:
    """Send requests over ``connections`` kept-alive connections, each as soon as the last was answered.

    ``host`` is the Host header where it is not the URL's; ``key`` is shown to the app.
    """
    named = [] if host is None else ["-H", f"Host: {host}"]
    if key is not None:
        named += ["-H", f"Authorization: Bearer {key}"]
    command = [
        require_wrk(),
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        *named,
        url,
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Load(
        requests_per_s=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        p50_ms=_milliseconds(_found(r"(?m)^ +50%\s+(\S+)", said)),
        p99_ms=_milliseconds(_found(r"(?m)^ +99%\s+(\S+)", said)),
        failed=(int(bad[1]) if bad else 0) + sum(map(int, broken.groups()) if broken else ()),
    )


def require_wrk() -> str:
    """Where wrk is; ends the program, saying how to get it, where it is missing."""
    program = shutil.which("wrk")
    if program is None:
        sys.exit("The load comes from wrk, which is not installed: apt-get install wrk (brew install wrk).")
    return program


def until(condition: Callable[[], bool], timeout_s: float, poll_s: float = 0.01) -> float:
    """Wait for a condition; seconds that it took."""
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > timeout_s:
            raise TimeoutError(f"Not within {timeout_s:g} s.")
        time.sleep(poll_s)
    return time.perf_counter() - began


def answers(client: httpx.Client, url: str) -> bool:
    """Whether a GET is answered with 200 now."""
    try:
        return client.get(url).status_code == 200
    except httpx.TransportError:
        return False


def report(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], measured: Mapping[str, Any]
) -> None:
    """Print one table; keep the samples behind it in ``results/<name>.json``."""
    table = Table(title=title, caption=_machine_line(), title_justify="left", caption_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*map(_shown, row))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"benchmark": name, "machine": machine(), "arguments": sys.argv[1:], **measured}
    path.write_text(json.dumps(content, indent=2) + "\n")


def progress(text: str) -> None:
    """Say on stderr what is measured now."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "ray": version("ray"),
        "flyteray": version("flyteray"),
    }


def _machine_line() -> str:
    now = machine()
    return (
        f"{now['cores']} cores, load {now['load_average'][0]} (this benchmark's own included), "
        f"Python {now['python']}, Ray {now['ray']}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return str(value)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(f"wrk said something unexpected:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if match is None:
        return math.nan  # nothing was answered
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[match[2]]
