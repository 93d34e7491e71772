"""Short children that are called at one time travel together; nothing that users can see is otherwise for that."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.remote import ActionPhase
from tests.integration import sample_batches as samples

pytestmark = pytest.mark.usefixtures("cluster")


def phases(run: flyte.remote.Run, task: str) -> Counter[str]:
    return Counter(each.phase.value for each in run.actions() if each.task.endswith(task))


def test_short_children_travel_together_and_each_is_an_action() -> None:
    run = flyte.run(samples.fan_out, 200)
    told = run.outputs()[0]
    assert [number for number, _ in told] == list(range(200))
    together = Counter(task for _, task in told)
    assert len(together) < 100
    assert max(together.values()) > 1
    assert phases(run, "short") == {ActionPhase.SUCCEEDED.value: 216}


def test_a_child_may_wait_for_one_that_was_called_after_it(tmp_path: Path) -> None:
    run = flyte.run(samples.meeting, str(tmp_path))
    assert run.outputs()[0] == list(range(samples.MANY))


def test_what_has_ended_does_not_wait_for_what_takes_long(tmp_path: Path) -> None:
    run = flyte.run(samples.first_come, str(tmp_path / "go"))
    assert run.outputs()[0] == [*(n for n in range(samples.MANY) if n != 3), 3]


@pytest.mark.parametrize("held", [False, True], ids=["before it begins", "while it runs"])
def test_of_several_one_is_cancelled(tmp_path: Path, held: bool) -> None:
    run = flyte.run(samples.cancelling, str(tmp_path), held)
    expected = [n if n != 3 else "CancelledError" for n in range(samples.MANY)]
    assert run.outputs()[0] == expected
    if held:
        assert phases(run, "journaled")[ActionPhase.ABORTED.value] == 1


def test_a_worker_that_dies_takes_no_call_with_it(tmp_path: Path) -> None:
    run = flyte.run(samples.dying, str(tmp_path))
    assert run.outputs()[0] == list(range(samples.MANY))
    journal = Counter(map(int, (tmp_path / "journal").read_text().split()))
    assert set(journal) == set(range(samples.MANY))
    again = {number for number, times in journal.items() if times > 1}
    assert again == {3}  # what had ended before, and what had not begun, ran once
    assert phases(run, "deadly") == {ActionPhase.SUCCEEDED.value: samples.MANY + 16}


def test_each_fails_and_is_tried_again_by_itself() -> None:
    run = flyte.run(samples.some_fail)
    told = run.outputs()[0]
    assert [each for each in told if isinstance(each, int)] == [n for n in range(samples.MANY) if n != 5]
    assert "never" in told[5]
    attempts = {each.attempts for each in run.actions() if each.task.endswith("failing")}
    assert attempts == {1, 2}


def test_large_outputs_travel_alone_in_the_end() -> None:
    assert flyte.run(samples.growing).outputs()[0] == [300_000] * 20


def test_those_that_have_children_of_their_own_do_not_starve() -> None:
    assert flyte.run(samples.deep).outputs()[0] == list(range(samples.MANY))
