from __future__ import annotations

from pathlib import Path

import pytest

import flyteray as flyte
from flyteray.remote import Run
from tests.integration import sample_tasks as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def named(run: Run) -> dict[str, str]:
    """The actions of a run by the names of their functions."""
    return {action.task.rpartition(".")[2]: action.action for action in run.actions()}


def test_what_each_attempt_of_each_action_writes_is_read_while_it_runs_and_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = flyte.run(samples.tells, str(tmp_path / "tried"))
    first = ["told by Python, try 0", "told by a child", "told natively"]

    def told(**which: int) -> list[str]:
        """What the task has written, in two streams whose order is that of time; Ray may write in between."""
        return sorted(line for line in run.get_logs(**which) if line.startswith("told"))

    eventually(lambda: run.actions() and told() == first)
    (tmp_path / "tried").touch()
    run.wait()

    tries = run.actions()[0].attempts  # two, unless the machine has lost a worker itself
    second = [f"told by Python, try {tries - 1}", "told by a child", "told natively"]
    eventually(lambda: told() == second)
    assert told(attempt=1) == first
    names = eventually(lambda: len(found := named(run)) == 3 and found)
    eventually(lambda: run.get_logs(action=names["tells_below"]) == ["told below"])
    assert run.get_logs(action=names["tells_nothing"]) == []
    assert not list(Path(run.url).glob(f"{names['tells_nothing']}/logs/*"))

    run.show_logs(max_lines=2)
    assert capsys.readouterr().out.splitlines() == run.get_logs()[-2:]
    for attempt in (tries + 1, 0, "x"):
        with pytest.raises(ValueError, match=rf"has no attempt {attempt!r}: it has had {tries}"):
            run.get_logs(attempt=attempt)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"has no action 'a1' that has begun\. `flyteray get action"):
        run.get_logs(action="a1")
