"""Who is told how runs have ended, by a real cluster to a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flyteray as flyte
from flyteray.models import ActionPhase
from flyteray.notify import NamedDelivery, Webhook
from flyteray.remote import Run, Secret, Trigger
from tests.integration import sample_triggered as samples
from tests.receivers import Received, http_server
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture
def server() -> Iterator[Received]:
    with http_server() as received:
        yield received


def run(server: Received, word: str) -> Run:
    told = Webhook(on_phase=ActionPhase.FAILED, url=server.url, body={"{{.Run.Name}}": "{{.Error}}"})
    oncall = NamedDelivery(on_phase=(ActionPhase.SUCCEEDED, ActionPhase.ABORTED), name="oncall")
    started: Run = flyte.with_runcontext(notifications=(told, oncall)).run(samples.says, word)
    return started


def test_ends_are_told_of_and_what_became_of_that(server: Received) -> None:
    Secret.create("notify/oncall", f"slack+{server.url}/oncall")
    server.answers = [503]
    failed = run(server, "")
    eventually(lambda: len(server.requests) == 2)
    well = run(server, "word")
    eventually(lambda: len(server.requests) == 3)

    assert server.bodies[0] == server.bodies[1] == {failed.name: "ValueError: no word"}
    assert server.bodies[2] == {"text": f"Run {well.name} of triggered.says: succeeded"}
    [of_failed] = eventually(lambda: [each for each in failed.notifications() if each.sent_at])
    assert (of_failed.kind, of_failed.tries, of_failed.error) == ("Webhook", 2, None)

    Secret.delete("notify/oncall")
    [of_other] = eventually(lambda: [each for each in run(server, "x").notifications() if each.error])
    assert "no secret" in (of_other.error or "")
    assert of_other.next_try_at is None


def test_the_runs_of_a_trigger_are_told_of(server: Received) -> None:
    flyte.deploy(samples.env)
    told = Webhook(on_phase="succeeded", url=server.url)
    made = Trigger.create(
        flyte.Trigger("told", inputs={"word": "w"}, notifications=told, custom_context={"a": "b"}),
        "triggered.says",
    )

    started = flyte.run(made)

    [body] = eventually(lambda: server.bodies)
    assert (body["run"], body["task"], body["phase"]) == (started.name, "triggered.says", "succeeded")
    Trigger.delete("told", "triggered.says")
