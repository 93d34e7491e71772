"""A server that says that it is not well is watched."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from flyteray._machine.health import Health
from flyteray._serve.health_watch import HealthWatch
from flyteray.errors import RuntimeUserError
from tests.waiting import eventually

WELL = Health(answers=True, is_good=True, seen="says that it is SERVING")
UNWELL = Health(answers=True, seen="says that it is NOT_SERVING")
SILENT = Health(seen="takes connections but has not answered")


@dataclass
class Server:
    """Says ``health``, and counts how often it was asked."""

    health: Health = WELL
    asked: int = 0
    changes: list[bool] = field(default_factory=list)

    def ask(self) -> Health:
        self.asked += 1
        return self.health

    def says(self, health: Health) -> None:
        """Say another thing, and be asked about it twice."""
        self.health = health
        before = self.asked
        eventually(lambda: self.asked > before + 2)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def watch(server: Server) -> Iterator[HealthWatch]:
    watch = HealthWatch(server.ask, server.changes.append, limit_s=0.2, every_s=0.01)
    watch.start()
    yield watch
    watch.stop()


def test_who_is_unwell_is_told_of_once_and_who_is_well_again_as_well(
    server: Server, watch: HealthWatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for health in (WELL, UNWELL, UNWELL, SILENT, WELL, SILENT):
            server.says(health)

    assert server.changes == [True, False]
    assert "The app's server says that it is NOT_SERVING." in caplog.text
    watch.check()


def test_who_is_unwell_for_long_fails(server: Server, watch: HealthWatch) -> None:
    def failed() -> str:
        try:
            watch.check()
        except RuntimeUserError as error:
            return str(error)
        return ""

    server.says(UNWELL)

    assert "says that it is NOT_SERVING, for more than 0.2 s" in eventually(failed)


def test_who_is_not_watched_any_more_is_not_asked(server: Server, watch: HealthWatch) -> None:
    watch.stop()
    asked = server.asked

    watch.stop()

    assert server.asked == asked
