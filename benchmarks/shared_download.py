"""How often is a large directory fetched when three replicas of a node are given it?

    python -m benchmarks.shared_download --mib 1024

The directory has a mount, so that it is fetched even from this machine's own disk. An app of three replicas is served,
which start at the same time; the replicas' own logs tell of each download, and the disk tells how much room it takes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import httpx
from fastapi import FastAPI

import flyteray as flyte
from benchmarks import harness
from flyteray._settings import Settings
from flyteray.app import Parameter, Scaling, get_parameter
from flyteray.app.extras import FastAPIAppEnvironment
from flyteray.io import Dir
from flyteray.remote import App

REPLICAS = 3
FILES = 16
SOURCE = Path(tempfile.gettempdir(), f"flyteray-shared-download-{os.getuid()}")

api = FastAPI()
app_env = FastAPIAppEnvironment(
    name="shared-download",
    app=api,
    scaling=Scaling(replicas=REPLICAS),
    parameters=[Parameter("data", Dir(path=str(SOURCE)), mount="data")],
)


@api.get("/")
def root() -> dict[str, int]:
    """Which replica this is, and the inode of a file that it sees: the same for all that share it."""
    data = Path(get_parameter("data"))
    return {"pid": os.getpid(), "inode": (data / "0.bin").stat().st_ino, "files": len(list(data.iterdir()))}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mib", type=int, default=1024, help="size of the directory (default: 1024)")
    given = parser.parse_args()

    SOURCE.mkdir(exist_ok=True)
    try:
        for number in range(FILES):
            (SOURCE / f"{number}.bin").write_bytes(os.urandom(given.mib * 2**20 // FILES))
        with harness.local_cluster(num_cpus=2):
            began = time.perf_counter()
            app = flyte.serve(app_env)
            took = time.perf_counter() - began
            answers: dict[int, dict[str, int]] = {}

            def all_answered() -> bool:
                answer = httpx.get(f"{app.endpoint}/", timeout=60).json()
                answers[answer["pid"]] = answer
                return len(answers) == REPLICAS

            harness.until(all_answered, timeout_s=60)
            node = Settings.load().temp_dir
            logs = list(node.rglob("worker-*.err"))
            fetched = sum(log.read_text(errors="replace").count(f"Fetched {SOURCE}") for log in logs)
            began = time.perf_counter()
            flyte.serve(app_env)
            again = time.perf_counter() - began
            App.delete(app.name)
            # Deletion returns before the replicas have ended.
            gone = harness.until(lambda: not any(node.rglob("flyteray-downloads-*/*")), timeout_s=60)
    finally:
        for path in SOURCE.iterdir():
            path.unlink()
        SOURCE.rmdir()
    harness.report(
        "shared_download",
        f"A directory of {given.mib} MiB for {REPLICAS} replicas of one node",
        ["replicas", "downloads", "copies seen", "serve() s", "again s", "gone after deletion s"],
        [[REPLICAS, fetched, len({each["inode"] for each in answers.values()}), took, again, gone]],
        {"answers": list(answers.values()), "serve_s": took, "again_s": again, "fetched": fetched},
    )


if __name__ == "__main__":
    main()
