from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)

from flyteray._plan.actions.retry import Retries
from flyteray._plan.info import ErrorInfo
from flyteray._plan.spec import RetrySpec
from flyteray._tasks.call import ActionFailed
from flyteray._tasks.submission import told_by_worker, translate_error, was_lost
from flyteray.errors import OOMError, StorageError, TaskInterruptedError


def raised_in_a_worker(cause: Exception) -> Any:
    """What Ray raises where a worker has met an error of Ray's own."""
    return RayTaskError("execute", "Traceback ...", cause).as_instanceof_cause()


def test_a_task_that_was_killed_for_memory_is_told_so_and_tried_again_as_its_policy_says() -> None:
    told = translate_error(
        OutOfMemoryError("Task was killed due to the node running low on memory."), "env.t"
    )

    assert isinstance(told, OOMError)
    assert was_lost(told)  # its outputs may be there
    assert str(told).startswith("Task 'env.t' was killed for memory: Task was killed due to the node running")
    assert "Resources(memory=...)" in str(told)
    assert Retries(RetrySpec()).after(told) is None
    asked = Retries(RetrySpec(count=1, base_s=7.0))
    assert [asked.after(told), asked.after(told)] == [7.0, None]


def test_a_worker_that_is_lost_is_an_interruption() -> None:
    told = translate_error(WorkerCrashedError(), "env.t")

    assert isinstance(told, TaskInterruptedError)
    assert was_lost(told)
    assert Retries(RetrySpec()).after(told) is not None


@pytest.mark.parametrize("full", [ObjectStoreFullError("60 bytes"), OutOfDiskError("60 bytes")])
def test_what_fits_neither_in_memory_nor_on_the_disk_is_told(full: Exception) -> None:
    of_outputs = translate_error(raised_in_a_worker(full), "env.t")
    of_inputs = translate_error(full, "env.t")

    assert isinstance(of_outputs, StorageError)
    assert isinstance(of_inputs, StorageError)
    assert str(of_inputs).startswith("What task 'env.t' is given or returns fits neither in the object store")
    assert "60 bytes. Free some space there" in str(of_inputs)
    assert "60 bytes" in str(of_outputs)
    assert "flyteray.io.File" in str(of_outputs)


def test_what_a_worker_told_of_its_failure_is_found_however_it_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failed = ActionFailed(ErrorInfo(code="ValueError", message="no"))

    assert told_by_worker(failed) is failed
    assert told_by_worker(raised_in_a_worker(failed)) is failed
    assert told_by_worker(raised_in_a_worker(ValueError("Ray's own"))) is None
    assert told_by_worker(ValueError("no")) is None
    assert caplog.messages == []  # Ray's words would be in the log of a user's task
