"""A policy of the user's own decides on the number of replicas, in a replica."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.remote import App
from tests.integration import sample_policy
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    file = tmp_path / "wanted"
    file.write_text("2")
    return file


@pytest.fixture
def app(wanted: Path) -> Iterator[App]:
    flyte.with_servecontext(env_vars={"WANTED": str(wanted)}).serve(sample_policy.advised)
    yield App.get("advised")
    App.delete("advised")


def told(wanted: Path) -> list[list[int]]:
    return [
        [int(word) for word in line.split()] for line in wanted.with_suffix(".told").read_text().splitlines()
    ]


def test_a_policy_sets_the_number_within_the_bounds(app: App, wanted: Path) -> None:
    eventually(lambda: App.get("advised").info.ready_replicas == 2)
    assert App.get("advised").info.scaling == "its policy by_file says 2"
    eventually(lambda: [2, 2] in [line[1:] for line in told(wanted)])

    wanted.write_text("9")
    eventually(lambda: App.get("advised").info.ready_replicas == 3)
    assert App.get("advised").info.scaling == "its policy by_file says 9, and the most is 3"

    wanted.write_text("0")
    eventually(lambda: App.get("advised").info.ready_replicas == 1)
    eventually(lambda: App.get("advised").info.scaling == "its policy by_file says 0, and the least is 1")


def test_where_a_policy_fails_the_number_stays_and_why_is_told(app: App, wanted: Path) -> None:
    eventually(lambda: App.get("advised").info.ready_replicas == 2)
    wanted.write_text("raise")

    why = "its policy by_file raised LookupError: the queue is gone, so it stays at 2"
    eventually(lambda: App.get("advised").info.scaling == why)
    assert App.get("advised").info.replicas == 2

    wanted.write_text("hang")
    eventually(lambda: "has not answered for" in (App.get("advised").info.scaling or ""), timeout=60)
    assert App.get("advised").info.replicas == 2


def test_another_replica_asks_it_when_the_one_that_did_has_ended(app: App, wanted: Path) -> None:
    eventually(lambda: App.get("advised").info.ready_replicas == 2)
    asker = told(wanted)[-1][0]
    os.kill(asker, signal.SIGKILL)

    eventually(lambda: told(wanted)[-1][0] != asker)
    wanted.write_text("3")
    eventually(lambda: App.get("advised").info.ready_replicas == 3)
