"""What each replica of an app tells of itself, and how much memory it has for itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import httpx
import psutil

import flyteray as flyte
from benchmarks import harness
from flyteray.app import AppEnvironment
from flyteray.remote import App


def served(env: AppEnvironment, replicas: int) -> dict[str, Any]:
    """Serve an app whose ``/`` answers with ``pid``, ``delivery_s`` and ``sum``, ask all replicas, and delete it."""
    began = time.perf_counter()
    app = flyte.serve(env)
    took = time.perf_counter() - began
    answers: dict[int, dict[str, Any]] = {}

    def all_answered() -> bool:
        answer = httpx.get(f"{app.endpoint}/", timeout=60).json()
        answers[answer["pid"]] = answer
        return len(answers) == replicas

    harness.until(all_answered, timeout_s=60)
    measured = {
        "serve_s": took,
        "delivery_s": [each["delivery_s"] for each in answers.values()],
        "private_mib": [psutil.Process(pid).memory_full_info().uss / 2**20 for pid in answers],
        "sums": [each["sum"] for each in answers.values()],
    }
    App.delete(app.name)
    return measured


def rows(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[object]]:
    """A row for each way: how soon, how much sooner than by ``file``, how much memory, and above ``nothing``."""

    def middle(name: str, key: str) -> float:
        found = (each[key] for each in samples[name])
        return float(median(max(each) if isinstance(each, list) else each for each in found))

    alone = middle("nothing", "private_mib")
    return [
        [
            name,
            middle(name, "delivery_s"),
            middle("file", "delivery_s") / middle(name, "delivery_s") if name != "nothing" else "",
            middle(name, "serve_s"),
            middle(name, "private_mib"),
            middle(name, "private_mib") - alone,
        ]
        for name in samples
    ]


HEAD = ["by", "delivery s", "sooner than file", "serve() s", "private MiB", "above nothing"]
