"""``flyteray.map`` and groups on a cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import flyteray as flyte
from flyteray._client.bridge import run_blocking
from flyteray._client.runs.tree import fetch
from flyteray.cli.root import flyteray as command
from flyteray.remote import ActionPhase
from tests.integration import sample_tasks as samples
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")


def groups(run: Any, children: int) -> dict[str | None, int]:
    """How many actions of a run are recorded in each group."""
    actions = eventually(lambda: actions if len(actions := run.actions()) > children else None)
    found = [action.group for action in actions]
    return {group: found.count(group) for group in found}


def test_a_sync_task_maps_its_children_in_a_group() -> None:
    run = flyte.run(samples.maps, 20)

    assert run.outputs()[0] == [2 * number for number in range(20)]
    assert groups(run, 20) == {None: 1, "samples.double_map": 20}
    table, told = (
        CliRunner().invoke(command, ["get", "run", run.name, "--tree", *more]) for more in ([], ["--json"])
    )
    assert re.match(r"samples\.maps a0 succeeded [0-9.]+ s\n└── samples\.double_map 20/20\n$", table.output)
    (mapped,) = json.loads(told.output)["tree"]["children"]
    assert (mapped["group"], mapped["phases"]) == ("samples.double_map", {"succeeded": 20})


def test_the_census_of_a_run_tells_those_one_by_one_that_matter() -> None:
    run = flyte.run(samples.tree, 4)
    run.wait()
    eventually(lambda: len(run.actions()) == 21)

    few, everyone = (run_blocking(fetch(run.name, most)) for most in (10, 1000))

    assert few is not None
    assert everyone is not None
    assert [[below.phases for below in branch.children] for branch in few.children] == [
        [{"succeeded": 4}]
    ] * 4
    assert [len(branch.children) for branch in everyone.children] == [4] * 4


def test_a_plain_map_in_async_code_blocks_nothing_that_it_needs() -> None:
    assert flyte.run(samples.maps_blocking_in_async, 3).outputs()[0] == [0, 3, 6, 2, 6]


def test_errors_are_values_that_raise_themselves_in_arithmetic() -> None:
    run = flyte.run(samples.maps_with_errors, 3)

    assert run.outputs()[0] == ["int", "RuntimeUserError", "int", "Broken: at 1"]
    assert groups(run, 6) == {None: 1, "samples.fails_at_mine": 3, "samples.fails_at_map": 3}


def test_a_map_that_is_left_early_aborts_the_actions_that_go_on(tmp_path: Path) -> None:
    run = flyte.run(samples.leaves_a_map_early, str(tmp_path / "started"))

    assert run.outputs()[0] == 1
    assert eventually(lambda: not list(tmp_path.iterdir()))
    phases = eventually(
        lambda: (
            phases
            if len(phases := [each.phase for each in run.actions()]) == 4
            and all(each.is_terminal for each in phases)
            else None
        )
    )
    assert sorted(phases) == [ActionPhase.ABORTED] * 2 + [ActionPhase.SUCCEEDED] * 2


def test_no_more_actions_run_at_one_time_than_a_run_is_allowed_to(tmp_path: Path) -> None:
    allowed = flyte.with_runcontext(max_action_concurrency=2)

    assert allowed.run(samples.tree_of_places, str(tmp_path)).outputs()[0] == 2
