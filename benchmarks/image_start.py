"""What does an image cost an app's start, when it is new and when it is there?

    python -m benchmarks.image_start --repeat 3

Two apps of one replica take turns: one has no image, the image of the other asks for a version of a package that the
cluster does not have. Each is served, answers, and is deleted; the time runs from ``serve()`` to the first answer.
The first round builds the image, from the package index that pip uses, the others find it. Both are up together once
in each round, so that each is seen to keep its own version.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import httpx

import flyteray as flyte
from benchmarks import harness
from flyteray.remote import App

PACKAGE, VERSION = "six", "1.15.0"
SOURCE = f"""
from importlib import metadata
from fastapi import FastAPI
import flyteray as flyte
from flyteray.app.extras import FastAPIAppEnvironment

api = FastAPI()
plain = FastAPIAppEnvironment(name="plain", app=api)
other = FastAPIAppEnvironment(
    name="other", app=api, image=flyte.Image.from_debian_base().with_pip_packages("{PACKAGE}=={VERSION}")
)

@api.get("/")
def version() -> str:
    try:
        return metadata.version("{PACKAGE}")
    except metadata.PackageNotFoundError:
        return "none"
"""


def started(client: httpx.Client, env: Any) -> tuple[float, str]:
    """Seconds to the first answer, and what it said."""
    began = time.perf_counter()
    app = flyte.serve(env)
    answer = client.get(f"{app.endpoint}/").raise_for_status()
    return time.perf_counter() - began, answer.json()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=3, help="starts of what is there (default: 3)")
    given = parser.parse_args()

    plain_s: list[float] = []
    image_s: list[float] = []
    seen: set[tuple[str, str]] = set()
    with (
        harness.local_cluster(num_cpus=2),
        httpx.Client(timeout=120) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        Path(folder, "image_apps.py").write_text(SOURCE)
        sys.path.insert(0, folder)
        apps = importlib.import_module("image_apps")
        started(client, apps.plain)  # the cluster's own first start is not the question
        App.delete(apps.plain.name)
        for number in range(given.repeat + 1):
            harness.progress(f"round {number}")
            plain, without = started(client, apps.plain)
            image, with_it = started(client, apps.other)
            plain_s.append(plain)
            image_s.append(image)
            seen.add((without, with_it))
            for env in (apps.plain, apps.other):
                App.delete(env.name)

    there, before = median(image_s[1:]), median(plain_s)
    harness.report(
        "image_start",
        f"serve() to the first answer of an app, {given.repeat} starts of an image that is there: seconds",
        ["app", "first", "median", "least", "most", f"{PACKAGE} seen"],
        [
            [
                "no image",
                plain_s[0],
                before,
                min(plain_s),
                max(plain_s),
                ", ".join({each for each, _ in seen}),
            ],
            [
                f"{PACKAGE}=={VERSION}",
                image_s[0],
                there,
                min(image_s[1:]),
                max(image_s[1:]),
                ", ".join({each for _, each in seen}),
            ],
        ],
        {"plain_s": plain_s, "image_s": image_s, "seen": sorted(seen)},
    )
    harness.progress(f"An image that is there costs {there - before:.2f} s.")


if __name__ == "__main__":
    main()
