from __future__ import annotations

import pickle

import pytest

from flyteray import errors
from flyteray._plan.failure import as_flyteray, describe, restore
from flyteray._plan.info import ErrorInfo
from flyteray.errors import NonRecoverableError, RuntimeSystemError, RuntimeUserError


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001  # whatever was given
        return caught


def test_an_exception_comes_back_as_a_user_error_with_itself_as_the_cause() -> None:
    restored = restore(describe(raised(KeyError("speed"))))

    assert type(restored) is RuntimeUserError
    assert restored.code == "KeyError"
    assert isinstance(restored.__cause__, KeyError)
    assert "in raised\n    raise error" in str(restored.__cause__.__cause__)


def test_a_flyteray_error_keeps_its_class() -> None:
    restored = restore(describe(raised(NonRecoverableError("no", code="E7"))))

    assert type(restored) is NonRecoverableError
    assert restored.code == "E7"


def test_an_exception_that_cannot_be_pickled_is_told_by_its_text() -> None:
    class Odd(Exception):
        def __reduce__(self) -> tuple[object, ...]:
            raise pickle.PicklingError("never")

    info = describe(raised(Odd("lost")))

    assert info.pickled is None
    assert "Odd: lost" in str(restore(info))
    assert "raise error" in str(restore(info).__cause__)


def test_a_failure_of_the_system_is_told_as_one() -> None:
    assert isinstance(restore(ErrorInfo(code="Lost", kind="system", message="gone")), RuntimeSystemError)


def test_as_flyteray_leaves_flyteray_errors_alone() -> None:
    error = NonRecoverableError("no")

    assert as_flyteray(error) is error
    assert as_flyteray(ValueError("x")).code == "ValueError"


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (errors.CustomError("TOO_COLD", "wait for summer"), "TOO_COLD", "user"),
        (errors.CustomError.from_exception(KeyError("x")), "KeyError", "user"),
        (errors.MaxRuntimeExceededError("a minute"), "MaxRuntimeExceededError", "user"),
        (errors.TaskTimeoutError("long", code="OURS"), "OURS", "user"),
        (errors.RuntimeUnknownError("Odd", "nobody knows"), "Odd", "unknown"),
        (errors.NotInTaskContextError("Outside", "call it in a task"), "Outside", "user"),
        (errors.InitializationError("NoEndpoint", "system", "say where"), "NoEndpoint", "system"),
        (errors.GPUFaultUserError("XidFault", "it fell off", fault_kind="xid"), "XidFault", "user"),
        (errors.GPUFaultSystemError("XidFault", "it fell off", "node-1"), "XidFault", "system"),
        (errors.ResourceExhaustedError("later"), "ResourceExhaustedError", "user"),
        (errors.LogsNotYetAvailableError("later"), "LogsNotYetAvailable", "system"),
        (errors.InvalidPackageError("vmi", "not found"), "InvalidPackageError", "user"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_flytes_errors_tell_code_and_kind_and_travel(
    error: errors.BaseRuntimeError, code: str, kind: str
) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), copy.code, copy.kind, str(copy)) == (type(error), code, kind, str(error))
    assert issubclass(errors.DeadlineExceededError, errors.TaskTimeoutError)


def test_what_a_driver_tells_of_a_gpu_are_attributes() -> None:
    fault = errors.GPUFaultSystemError("Fell", "m", fault_kind="xid", fault_code=79, gpu_index=3)
    switch = errors.GPUFaultError("Fell", "system", "m", fault_kind="sxid", fault_code=22)

    assert (fault.xid, fault.sxid, fault.gpu_index, fault.gpu_uuid) == (79, None, 3, None)
    assert (switch.xid, switch.sxid) == (None, 22)
    assert isinstance(fault, errors.RuntimeSystemError)
    with pytest.raises(TypeError, match="knows no 'colour' of a fault"):
        errors.GPUFaultUserError("Fell", "m", colour="red")
