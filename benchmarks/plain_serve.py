"""Plain Ray Serve, beside which flyteray is measured: in a process with a Ray of its own until a benchmark is done."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import harness

OPTION = "--serve-plainly"  # of a benchmark, with a port: it is that process


@contextlib.contextmanager
def plain_serve(benchmark: str, **mode: str) -> Iterator[str]:
    """Ray Serve in the mode that Ray's own variables ask for, started by ``python -m benchmark``; its URL."""
    port = harness.free_port()
    # Short: Ray's sockets are in it, and a path has 107 bytes at most.
    with tempfile.TemporaryDirectory(prefix="rs-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "BENCHMARK_TEMP": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/server-state",
            **mode,
        }
        with child([sys.executable, "-m", benchmark, OPTION, str(port)], environment):
            yield f"http://127.0.0.1:{port}"


def run(application: Any, port: int) -> None:
    """Be that process: Serve reads its mode from the environment when Ray starts."""
    import ray  # with flyteray it is not the user's to import
    from ray import serve

    ray.init(
        num_cpus=2,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=os.environ["BENCHMARK_TEMP"],
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(application, name="plain", route_prefix="/")
    sys.stdin.read()  # until the benchmark is done
    serve.shutdown()
    ray.shutdown()


@contextlib.contextmanager
def child(command: list[str], environment: dict[str, str], terminate: bool = False) -> Iterator[None]:
    """A process that ends when its stdin does, or is told to; what it wrote is shown where the benchmark fails."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
        )
        assert started.stdin is not None
        try:
            yield
        except BaseException:
            log.seek(0)
            harness.progress(log.read().decode(errors="replace")[-4000:])
            raise
        finally:
            started.stdin.close()
            if terminate:
                started.terminate()
            started.wait(60)
