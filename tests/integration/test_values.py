"""Arrays, tables and models as inputs and outputs, whoever asks and however large they are."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

import flyteray as flyte
from flyteray import _private
from flyteray.errors import RunAlreadyExistsError, RuntimeDataValidationError, RuntimeUserError, StorageError
from flyteray.remote import Task
from tests.disks import mounted
from tests.integration import sample_values as samples
from tests.integration.sample_values import MB

pytestmark = pytest.mark.usefixtures("cluster")


def result(task: Any, *args: Any, **kwargs: Any) -> Any:
    return flyte.run(task, *args, **kwargs).outputs()[0]


def kept_inputs() -> list[str]:
    from flyteray._client.session.session import session
    from flyteray.storage import open_storage

    return list(open_storage(session().connect().storage).list("inputs"))


@pytest.mark.parametrize("count", [0, 3, MB // 4, 3 * MB])
def test_an_array_is_an_input_whatever_its_size(count: int) -> None:
    assert result(samples.total, values=np.ones(count)) == count


@pytest.mark.parametrize("rows", [2, 2 * MB])
def test_an_array_arrives_in_its_own_order_and_read_only(rows: int) -> None:
    fortran = np.asfortranarray(np.ones((rows, 2), dtype=np.float32))

    assert result(samples.described, fortran) == [(rows, 2), "float32", True, False]


def test_who_writes_to_an_array_is_told_to_copy_it() -> None:
    with pytest.raises(RuntimeUserError, match=r"is read-only\. .* copy one before you change it"):
        result(samples.written_to, np.zeros(3 * MB))


def test_memory_of_the_cluster_is_private_to_who_writes_to_it() -> None:
    assert result(samples.give_zeros) == [0.0, 1.0, False]


@pytest.mark.parametrize(
    "value",
    [
        np.array([{"a": 1}, None, "text"], dtype=object),
        np.ones((6, 6))[::2, ::3],
        np.array("2024-01-01", dtype="datetime64[D]"),
        {"nested": [np.arange(3), (np.zeros(0), bytearray(b"bytes"))], "text": "x" * 3_000_000},
        bytearray(3_000_000),
        b"x" * 3_000_000,
        memoryview(b"seen"),
        list(range(400_000)),
    ],
    ids=["objects", "strided", "scalar", "nested", "bytearray", "bytes", "memoryview", "list"],
)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    np.testing.assert_equal(result(samples.given, value), value)


@pytest.mark.parametrize("rows", [3, 400_000])
def test_tables_and_models_are_inputs_and_outputs(rows: int) -> None:
    frame = pd.DataFrame({"x": np.arange(rows), "y": np.arange(rows) * 2.0, "word": ["w"] * rows})
    table = pa.table({"x": list(range(rows))})
    model = LinearRegression().fit(np.ones((rows, 1)), np.ones(rows))

    assert result(samples.given, frame).equals(frame)
    assert result(samples.given, table).equals(table)
    assert result(samples.given, model).intercept_ == model.intercept_


def test_an_array_inside_a_class_and_as_a_default_is_an_input() -> None:
    weights = samples.Weights("w", np.ones(2 * MB))

    assert result(samples.summed, weights) == 2 * MB * 6.0
    assert result(samples.summed, weights=samples.Weights("w", np.ones(2)), scale=np.ones(2)) == 4.0


@pytest.mark.parametrize("nbytes", [10, 3_000_000])
def test_what_brings_its_own_memory_when_pickled_is_an_input(nbytes: int) -> None:
    assert result(samples.size, samples.Tensor(bytearray(nbytes))) == nbytes


@pytest.mark.parametrize("count", [3, 2 * MB])
def test_an_array_is_an_input_of_deployed_tasks_and_of_what_a_task_calls(count: int) -> None:
    flyte.deploy(samples.env)
    deployed = Task.get("values.total", auto_version="latest")

    assert result(deployed, values=np.ones(count)) == count
    assert result(samples.hands_on, np.ones(count)) == [count] * 3


def test_dicts_are_converted_for_runs_children_and_deployed_tasks_and_in_outputs() -> None:
    flyte.deploy(samples.env)
    deployed = Task.get("values.rate", auto_version="latest")

    assert result(samples.rate, {"rate": 0.5}) == 0.5
    assert result(deployed, config={"rate": 0.5}) == 0.5
    assert result(samples.configured, 0.5) == samples.Config(0.5)
    assert result(samples.rates) == [0.5, 0.5, samples.Config(0.25)]
    with pytest.raises(TypeError, match=r"config.parts\[0\].values: is missing"):
        flyte.run(samples.rate, {"rate": 0.5, "parts": [{"name": "w"}]})
    with pytest.raises(RuntimeUserError, match=r"config.rate: expected float, got str: 'x'"):
        result(deployed, config={"rate": "x"})
    with pytest.raises(RuntimeDataValidationError, match=r"o0.rate: expected float, got str: 'x'"):
        result(samples.configured, "x")


def test_a_handler_of_an_app_runs_tasks_with_arrays() -> None:
    app = flyte.serve(samples.app)
    try:
        asked = [httpx.get(f"{app.endpoint}/total?megabytes={size}", timeout=60).json() for size in (0, 2)]
    finally:
        app.deactivate(wait=True)

    assert asked == [3.0, 2.0 * MB]


@pytest.mark.parametrize("count", [3, 2 * MB])
def test_every_attempt_has_the_inputs(count: int, tmp_path: Path) -> None:
    assert result(samples.total_at_second_attempt, np.ones(count), str(tmp_path / "failed")) == count


def test_large_inputs_outlive_the_driver_that_gave_them(tmp_path: Path) -> None:
    before = set(kept_inputs())
    script = tmp_path / "driver_with_array.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            import numpy as np
            import flyteray as flyte
            from tests.integration.sample_values import waits_for

            print(flyte.run(waits_for, sys.argv[1], np.ones(2**18)).name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    goes_on = tmp_path / "goes-on"
    root = str(Path(__file__).parents[2])
    driver = subprocess.run(
        [sys.executable, script, goes_on],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert driver.stdout.strip(), driver.stderr
    run = flyte.remote.Run.get(driver.stdout.strip())
    assert set(kept_inputs()) - before
    goes_on.touch()

    assert run.outputs()[0] == 2**18


def test_a_run_that_is_refused_leaves_no_inputs() -> None:
    flyte.with_runcontext(name="has-values").run(samples.total, np.ones(2 * MB)).wait()
    before = kept_inputs()

    for values in (np.ones(2 * MB), np.ones(2)):
        with pytest.raises(RunAlreadyExistsError):
            flyte.with_runcontext(name="has-values").run(samples.total, values)
    assert kept_inputs() == before


def test_a_large_array_is_written_once_and_the_worker_maps_what_was_written() -> None:
    values = np.ones(32 * MB)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    total, backed_by = result(samples.backing, values)

    assert total == 32 * MB
    assert "/storage/inputs/" in backed_by
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
    )  # KiB: no copy in this process


def test_outputs_that_do_not_fit_on_the_disk_are_told() -> None:
    """They are in storage before a run has ended well, however much room there is in memory."""
    from flyteray._client.session.session import session

    folder = _private.folder(Path(session().connect().storage) / "runs" / "fits-not")
    with mounted(folder):
        run = flyte.with_runcontext(name="fits-not").run(samples.zeros)
        with pytest.raises(StorageError, match=r"did not let us write 'runs/fits-not/.*: no space is left"):
            run.outputs()
