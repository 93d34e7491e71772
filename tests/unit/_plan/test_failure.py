from __future__ import annotations

import argparse
import builtins
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

from flyteray import errors
from flyteray._plan.failure import as_flyteray, describe, restore
from flyteray._plan.info import ErrorInfo
from flyteray.errors import NonRecoverableError, RuntimeSystemError, RuntimeUserError


def raised(error: BaseException) -> BaseException:
    return left(lambda: throw(error))


def throw(error: BaseException) -> NoReturn:
    raise error


def left(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as caught:  # noqa: BLE001  # whatever was raised
        return caught
    raise AssertionError


def test_an_exception_comes_back_as_a_user_error_with_itself_as_the_cause() -> None:
    restored = restore(describe(raised(KeyError("speed"))))

    assert type(restored) is RuntimeUserError
    assert restored.code == "KeyError"
    assert isinstance(restored.__cause__, KeyError)
    assert "in throw\n    raise error" in str(restored.__cause__.__cause__)


def shared() -> np.ndarray:
    array = np.ones(3)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "change",
    [
        lambda: shared().__setitem__(0, 2),
        lambda: shared().sort(),
        lambda: np.add(shared(), 1, out=shared()),
        lambda: shared()[1:].__iadd__(1),
        lambda: np.frombuffer(b"12345678").flags.__setattr__("writeable", True),
        lambda: pd.Series(shared(), copy=False).to_numpy().__setitem__(0, 2),
    ],
    ids=["item", "sort", "out", "slice", "flag", "pandas"],
)
def test_who_changes_a_shared_array_is_told_to_copy_it(change: Callable[[], object]) -> None:
    error = left(change)

    assert "copy one before you change it (values = values.copy())" in str(restore(describe(error)))
    assert "copy one before you change it" in str(as_flyteray(error))


def test_other_errors_speak_of_no_copy() -> None:
    assert "copy" not in str(as_flyteray(ValueError("the disk is read-only")))


def test_a_summary_says_the_class_once_however_many_tasks_it_went_through() -> None:
    first = describe(raised(KeyError("speed")))
    through_its_parent = describe(raised(restore(first)))

    assert first.summary == through_its_parent.summary == "KeyError: 'speed'"
    assert describe(raised(KeyError())).summary == "KeyError"


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


class Hostile(Exception):
    """Raises, whatever it is asked."""

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("no")

    __str__ = __repr__ = __reduce__ = __reduce_ex__ = __eq__ = __hash__ = _fail
    __notes__ = __class__ = property(_fail)


class LeavesWhenAsked(Exception):
    def __str__(self) -> str:
        sys.exit("not even this")


class Endless(Exception):
    def __str__(self) -> str:
        while True:
            pass


class HangsOnLoad(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return time.sleep, (3600,)


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class OfAMetaclass(Exception, metaclass=Nameless):
    pass


class CallsNobody(NonRecoverableError):
    def __init__(self) -> None:
        """Without code, kind or message."""


class Told(str):
    def __str__(self) -> str:
        raise RuntimeError("no")


def circular() -> BaseException:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    return raised(first)


def endless_recursion() -> Any:
    return endless_recursion()


def chain(length: int) -> BaseException:
    error: BaseException = ValueError("0")
    for number in range(length):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    return raised(error)


def group() -> BaseException:
    many: Any = getattr(builtins, "BaseExceptionGroup")  # noqa: B009  # new in 3.11
    error: BaseException = many("many", [ValueError("\udcff"), Hostile()])
    return error


# Functions: pytest itself could not bear to look at some of these.
ODD: dict[str, Callable[[], BaseException]] = {
    "a surrogate and NUL": lambda: ValueError("bad \udc80 text \0"),
    "everything raises": Hostile,
    "leaves when asked": LeavesWhenAsked,
    "no name": lambda: OfAMetaclass("x"),
    "no attributes": CallsNobody,
    "a text that raises": lambda: ValueError(Told("x")),
    "20 MB of text": lambda: ValueError("x" * 20_000_000),
    "5 MB of bytes": lambda: ValueError(b"\0" * 5_000_000),
    "circular": circular,
    "20,000 causes": lambda: chain(20_000),
    "recursion": lambda: left(endless_recursion),
    "odd syntax": lambda: SyntaxError("odd", ("\udc80", -1, 0, "\udc80\0")),
    "a decoder's": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(3),
    "KeyboardInterrupt": KeyboardInterrupt,
}
if sys.version_info >= (3, 11):
    ODD["a group"] = group


@pytest.mark.parametrize("odd", ODD)
def test_any_exception_becomes_text_that_can_be_stored_and_printed(odd: str) -> None:
    error = ODD[odd]()

    info = describe(raised(error))

    stored = info.model_dump_json()
    assert "\0" not in info.message + info.traceback
    assert len(stored) < 2_000_000
    again = ErrorInfo.model_validate_json(stored)
    assert again.code == type.__dict__["__name__"].__get__(type(error))
    assert "raise error" in again.traceback
    restore(again)


def test_what_cannot_be_written_is_escaped() -> None:
    assert describe(raised(ValueError("bad \udc80 text\0"))).message == "bad \\udc80 text\\x00"


def test_of_a_long_message_both_ends_are_told() -> None:
    info = describe(raised(ValueError(f"begin {'x' * 1_000_000} end")))

    assert info.message.startswith("begin")
    assert info.message.endswith("end")
    assert "characters left out" in info.message


@pytest.mark.parametrize("error", [Endless(), HangsOnLoad("slow to come back")])
def test_an_exception_that_hangs_is_told_all_the_same(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyteray._plan.failure._PICKLE_S", 0.2)
    monkeypatch.setattr("flyteray._plan.failure._DESCRIBE_S", 0.5)

    info = describe(raised(error))

    assert info.code == type(error).__name__
    assert info.pickled is None
    assert "raise error" in info.traceback
    busy = {thread.ident for thread in threading.enumerate() if thread.name == "flyteray-failure"}
    frames = [frame for ident, frame in sys._current_frames().items() if ident in busy]
    assert not [frame for frame in frames if frame.f_code.co_filename == __file__]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="groups are new in 3.11")
def test_a_group_shows_the_users_frames_of_its_members() -> None:
    several: Any = getattr(builtins, "ExceptionGroup")  # noqa: B009  # new in 3.11

    text = describe(raised(several("both", [raised(ValueError("one")), raised(KeyError("two"))]))).traceback

    assert "ValueError: one" in text
    assert "KeyError: 'two'" in text
    assert text.count("in throw") == 3


def test_leaving_by_sys_exit_says_why() -> None:
    assert describe(left(lambda: sys.exit("bad configuration"))).message == "bad configuration"
    assert describe(left(lambda: sys.exit(3))).message == "sys.exit(3) was called"
    assert describe(left(sys.exit)).message == "sys.exit() was called"


@pytest.mark.parametrize("given", [["--rounds", "many"], ["--unknown"], []])
def test_a_wrong_argument_is_told_in_the_parsers_words(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, required=True)

    info = describe(left(lambda: parser.parse_args(given)))

    assert info.code == "SystemExit"
    assert "sys.exit(2) was called: " in info.message
    assert info.message.rpartition(": ")[2].strip() in capsys.readouterr().err
    assert "parser.parse_args(given)" in info.traceback


def test_a_process_that_serves_others_does_not_unpickle_a_users_exception() -> None:
    info = describe(raised(NonRecoverableError("no")))
    harmful = info.model_copy(update={"pickled": pickle.dumps(EndsProcess())})

    error = restore(harmful, unpickle=False)

    assert isinstance(error, NonRecoverableError)  # so that it is not tried again


class EndsProcess(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)
