"""Who is told of a run that has ended: by a registry and servers that are real."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from flyteray._control.registry.database import now
from flyteray._control.registry.registry import Registry
from flyteray._control.runs.notifier import Notifier
from flyteray._notify.messages import spec_of
from flyteray._plan.info import ActionPhase, ErrorInfo
from flyteray._plan.spec import RunSpec
from flyteray._settings import Settings
from flyteray.notify import NamedRule, Notification, Webhook
from tests.receivers import Received, http_server
from tests.unit.builders import NOON, task_spec


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with contextlib.closing(Registry(f"sqlite:///{tmp_path}/registry.sqlite")) as registry:
        yield registry


@pytest.fixture
def server() -> Iterator[Received]:
    with http_server() as received:
        yield received


def notifier(registry: Registry) -> Notifier:
    settings = Settings(home=Path("/nowhere"), storage="/nowhere")
    return Notifier(registry, settings, lambda name: b"succeeded http://127.0.0.1:1/")


def create(registry: Registry, name: str, *notifications: Notification) -> None:
    told = tuple(map(spec_of, notifications))
    registry.runs.create(RunSpec(name=name, task=task_spec(), notifications=told), NOON)


def ends(registry: Registry, name: str, phase: ActionPhase = ActionPhase.FAILED) -> None:
    registry.runs.finish(name, phase, ErrorInfo(code="ValueError", message="no"), None, now())


def hook(server: Received, *phases: str) -> Webhook:
    return Webhook(on_phase=phases, url=server.url, body={"run": "{{.Run.Name}}", "error": "{{.Error}}"})


def test_who_wants_to_know_of_an_end_is_told_once(registry: Registry, server: Received) -> None:
    create(registry, "r1", hook(server, "failed", "aborted"), hook(server, "succeeded"))
    create(registry, "quiet")
    ends(registry, "r1")
    ends(registry, "r1", ActionPhase.ABORTED)  # it had ended
    ends(registry, "quiet")

    asyncio.run(notifier(registry).send())
    asyncio.run(notifier(registry).send())

    assert server.bodies == [{"run": "r1", "error": "ValueError: no"}]
    (notice,) = registry.notices.of_run("r1")
    assert (notice.kind, notice.tries, notice.error, notice.next_try_at) == ("Webhook", 1, None, None)
    assert notice.sent_at is not None
    assert registry.notices.of_run("quiet") == []


def test_what_could_not_be_sent_is_tried_again_later_and_what_never_will_is_not(
    registry: Registry, server: Received
) -> None:
    server.answers = [503, 404]
    create(registry, "busy", hook(server, "failed"))
    ends(registry, "busy")
    looks = notifier(registry)
    assert 0 < asyncio.run(looks.send()) <= 1
    (waiting,) = registry.notices.of_run("busy")
    assert (waiting.sent_at, waiting.error) == (None, "127.0.0.1 answered 503: so it is")
    assert waiting.next_try_at is not None
    assert waiting.next_try_at - now() < timedelta(seconds=1)

    async def until_it_is_tried() -> None:
        running = asyncio.create_task(looks.run())
        while registry.notices.next_due() is not None:  # noqa: ASYNC110  # the registry tells nobody
            await asyncio.sleep(0.02)
        running.cancel()

    asyncio.run(asyncio.wait_for(until_it_is_tried(), 20))

    (given_up,) = registry.notices.of_run("busy")
    assert (given_up.tries, given_up.error) == (2, "127.0.0.1 answered 404: so it is")


def test_an_end_wakes_it(registry: Registry, server: Received) -> None:
    create(registry, "r1", hook(server, "failed"))

    async def main() -> None:
        running = asyncio.create_task(notifier(registry).run())
        await asyncio.sleep(0)
        ends(registry, "r1")
        while not server.requests:  # noqa: ASYNC110  # another thread has them
            await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_rule_decides_when_it_is_looked_up(registry: Registry) -> None:
    create(registry, "r1", NamedRule("nightly"))
    ends(registry, "r1")

    asyncio.run(notifier(registry).send())

    (notice,) = registry.notices.of_run("r1")
    assert (notice.kind, notice.error) == ("NamedRule", None)
