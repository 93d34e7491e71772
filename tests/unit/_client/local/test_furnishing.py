"""What a local run says of variables, logs, folders and time reaches its tasks, and is gone after it."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import flyteray as flyte

env = flyte.TaskEnvironment(name="varied", env_vars={"OF_THE_TASK": "task", "OF_BOTH": "task"})
NAMES = ("OF_THE_TASK", "OF_BOTH", "OF_THE_RUN")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FLYTERAY_HOME", str(tmp_path))
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@env.task
def variables() -> list[str | None]:
    return [os.environ.get(name) for name in NAMES]


@env.task
async def start_times(attempts: list[int]) -> list[datetime | None]:
    here = flyte.ctx().run_start_time
    return [here, await start_time.aio(attempts)]


@env.task(retries=flyte.RetryStrategy(1, flyte.Backoff(timedelta(0))))
def start_time(attempts: list[int]) -> datetime | None:
    if flyte.ctx().attempt_number == 0:
        raise ValueError("Once.")
    return flyte.ctx().run_start_time


@env.task
def places() -> tuple[str, str, str]:
    here = flyte.ctx()
    return here.run_base_dir, here.output_path, here.raw_data_path.path


@env.task
def level() -> tuple[int, int]:
    return flyte.logger.level, logging.getLogger().level


@env.task
def fails() -> None:
    raise ValueError("It fails.")


def test_variables_of_the_run_go_before_those_of_its_tasks_and_are_gone_with_it() -> None:
    run = flyte.with_runcontext(mode="local", env_vars={"OF_BOTH": "run", "OF_THE_RUN": "run"}).run(variables)

    assert run.outputs()[0] == ["task", "run", "run"]
    assert [name for name in NAMES if name in os.environ] == []


def test_variables_that_were_there_are_as_before_also_after_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OF_BOTH", "before")

    with pytest.raises(flyte.errors.RuntimeUserError):
        flyte.with_runcontext(mode="local", env_vars={"OF_THE_RUN": "run"}).run(fails)

    assert [os.environ.get(name) for name in NAMES] == [None, "before", None]


def test_a_run_has_one_start_time_for_all_of_its_actions_and_attempts() -> None:
    before = datetime.now(timezone.utc)
    first, second = flyte.with_runcontext(mode="local").run(start_times, []).outputs()[0]
    said = datetime(2020, 2, 29, 12)
    told = flyte.with_runcontext(mode="local", run_start_time=said).run(start_times, []).outputs()[0]

    assert before <= first == second <= datetime.now(timezone.utc)
    assert told == [said.replace(tzinfo=timezone.utc)] * 2


def test_a_start_time_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="run_start_time must be a datetime, got 'noon'"):
        flyte.with_runcontext(run_start_time="noon")  # type: ignore[arg-type]


def test_files_go_where_the_run_says_and_all_else_stays_in_the_folder_of_local_runs(home: Path) -> None:
    elsewhere = home / "elsewhere"

    base, output, data = (
        flyte.with_runcontext(mode="local", name="r", raw_data_path=str(elsewhere)).run(places).outputs()
    )

    assert (base, output) == (str(home / "local/r"), str(home / "local/r/a0"))
    assert data == str(elsewhere / "r/a0/data")
    assert flyte.with_runcontext(mode="local", name="s").run(places).outputs()[2] == str(
        home / "local/s/a0/data"
    )


def test_levels_of_logs_hold_for_the_run_alone() -> None:
    before = flyte.logger.level, logging.getLogger().level
    run = flyte.with_runcontext(
        mode="local", log_level="ERROR", user_log_level=logging.DEBUG, reset_root_logger=True
    )

    assert run.run(level).outputs() == (logging.DEBUG, logging.ERROR)
    assert (flyte.logger.level, logging.getLogger().level) == before
    with pytest.raises(ValueError, match="log_level is 'loud'"):
        flyte.with_runcontext(log_level="loud")
