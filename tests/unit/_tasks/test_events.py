from __future__ import annotations

from itertools import permutations

from flyteray._plan.info import ActionPhase
from flyteray._tasks.call import Call
from flyteray._tasks.events import Note, together

CALL = Call("a", 0, "r", "a0", "env.f", "b", "m", "f", (), ())


def note(phase: ActionPhase, at: float, inputs: bytes | None = None) -> Note:
    return Note(CALL, phase, at, None, None, None, None, inputs)


def test_notes_that_come_back_in_any_order_tell_the_end_and_the_inputs() -> None:
    notes = [
        note(ActionPhase.QUEUED, 1.0),
        note(ActionPhase.RUNNING, 2.0, b"inputs"),
        note(ActionPhase.SUCCEEDED, 3.0),
    ]
    for order in permutations(notes):
        told: Note | None = None
        for each in order:
            told = together(each, told)
        assert told == note(ActionPhase.SUCCEEDED, 3.0, b"inputs")


def test_a_call_that_begins_again_is_told_by_its_later_end() -> None:
    failed, running, done = (
        note(ActionPhase.FAILED, 1.0),
        note(ActionPhase.RUNNING, 2.0),
        note(ActionPhase.SUCCEEDED, 3.0),
    )

    assert together(running, failed).phase is ActionPhase.FAILED
    assert together(done, together(running, failed)).phase is ActionPhase.SUCCEEDED
