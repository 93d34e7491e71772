from __future__ import annotations

import pytest
from click.testing import CliRunner

from flyteray.cli.verbs.logs import logs


@pytest.mark.parametrize("option", [["--raw"], ["--show-ts"], ["--filter-system"], ["--replica", "a1"]])
def test_what_is_for_lines_of_replicas_is_refused_with_entries_of_requests(option: list[str]) -> None:
    done = CliRunner().invoke(logs, ["app", "hello", "--access", *option])

    assert done.exit_code == 2
    assert "--access goes with --follow and --lines only" in " ".join(done.output.split())
