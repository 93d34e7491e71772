"""An exception crosses processes: it is described where it happens, and restored where it is asked for."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import re
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from itertools import dropwhile
from types import FrameType, TracebackType
from typing import TypeVar, cast, get_args

import cloudpickle

from flyteray._declare.loading import loads
from flyteray._plan.actions.retry import FINAL
from flyteray._plan.info import ErrorInfo
from flyteray._plan.values.text import printable
from flyteray._version import HOUSE
from flyteray.errors import BaseRuntimeError, Kind, NonRecoverableError, RuntimeSystemError, RuntimeUserError

T = TypeVar("T")

_NAME = 200  # characters
_PICKLED = 1024 * 1024  # bytes of an exception that travels as itself
_PICKLE_S = 5.0
_DESCRIBE_S = 4 * _PICKLE_S
_ENDINGS = 20  # attempts to interrupt what was given up
_ENDING_S = 0.05  # between them
_FRAMES = 100

_OURS = (f"{HOUSE}/", "/site-packages/ray/", "/dist-packages/ray/")
_WAY_IN = (  # of calls, to the user's code
    *("<frozen importlib", "/importlib/", "/asyncio/", "uvloop/"),
    *("/concurrent/futures/", "/threading.py"),
)
# What numpy, pandas and their like say of arrays that are shared.
_READ_ONLY = re.compile(
    r"(destination|array|buffer source array|values?) (is|are) read-only|set WRITEABLE flag"
)
_SHARED = (
    ". Arrays that a task is given or gets from another are shared by all processes of the machine: copy one before "
    "you change it (values = values.copy())"
)
_BUNDLE = re.compile(r"^.*/flyteray-bundles[^/]*/[0-9a-f]+/")


class RemoteTraceback(Exception):
    """The cause of a restored exception: where it was raised in the other process, as text."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text.rstrip()}\n"""'


def describe(error: BaseException) -> ErrorInfo:
    """An exception as a value: its code, its message, the user's frames, and itself where it pickles.

    This can't fail or hang, whatever the exception does when it is looked at: what can't be had of it is left out.
    All text is printable, storable and of bounded length; an exception that is large or slow to pickle travels as
    text alone.
    """
    return _within(_DESCRIBE_S, lambda: _described(error)) or ErrorInfo(
        code=printable(_name(type(error)), _NAME),
        message="(no message: the exception failed, or took too long, when it was asked for one)",
        traceback=_bare_traceback(error),
    )


def message(error: BaseException) -> str:
    """What an exception says, as printable text; what it can't say is said for it."""
    try:
        said = _why_exit(cast(SystemExit, error)) if _is(error, SystemExit) else str(error)
        return printable(said + _SHARED if _is(error, ValueError) and _READ_ONLY.search(said) else said)
    except BaseException as failed:  # noqa: BLE001  # a user's __str__ may raise anything
        return f"(no message: the exception's __str__ raised {_name(type(failed))})"


def restore(info: ErrorInfo, unpickle: bool = True) -> BaseRuntimeError:
    """The flyteray error to raise for ``info``.

    A flyteray error comes back as itself. Any other exception arrives as :class:`RuntimeUserError` with its class name
    as ``code`` and the original as ``__cause__`` (where it can be unpickled here); the user's traceback is printed with
    it. Without ``unpickle`` the original is left out: a process that serves others must not run a user's code for it.
    """
    original = _unpickled(info.pickled) if unpickle else None
    remote = RemoteTraceback(info.traceback) if info.traceback else None
    if original is not None and remote is not None and original.__cause__ is None:
        original.__cause__ = remote
    if isinstance(original, BaseRuntimeError):
        return original
    text = f"{info.code}: {info.message}" if info.message else info.code
    kind = RuntimeSystemError if info.kind == "system" else RuntimeUserError
    error = NonRecoverableError(text, info.code) if info.final else kind(info.code, text)
    error.__cause__ = original or remote
    return error


def as_flyteray(error: BaseException) -> BaseRuntimeError:
    """A flyteray error as it is; any other as :class:`RuntimeUserError` with its class name as ``code``."""
    if isinstance(error, BaseRuntimeError):
        return error
    code, said = printable(_name(type(error)), _NAME), message(error)
    return RuntimeUserError(code, f"{code}: {said}" if said else code)


def user_traceback(error: BaseException) -> str:
    """The traceback of ``error`` and its causes without the frames of flyteray and Ray; this can't fail either.

    Paths inside an unpacked bundle are shown as the user knows them, relative to the bundle. Empty when no
    frame is the user's.
    """
    try:
        described = traceback.TracebackException(type(error), error, error.__traceback__)
        links = list(_chain(described))
        for link in links:
            link.stack = traceback.StackSummary.from_list(_users(link.stack))
        shown = any(link.stack for link in links) or isinstance(error, SyntaxError)
        return printable("".join(described.format())) if shown else ""
    except BaseException:  # noqa: BLE001  # of a user's __str__, __cause__ or __notes__
        return _bare_traceback(error)


def users_frames(frames: TracebackType | None) -> TracebackType | None:
    """A traceback without the frames of flyteray and Ray, for debuggers and for what prints it."""
    kept = None
    for each in reversed([*_linked(frames)]):
        file = each.tb_frame.f_code.co_filename
        if not any(part in file for part in (*_OURS, *_WAY_IN)):
            kept = TracebackType(kept, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return kept


def _linked(frames: TracebackType | None) -> Iterator[TracebackType]:
    while frames is not None:
        yield frames
        frames = frames.tb_next


def frames(frame: FrameType) -> list[traceback.FrameSummary]:
    """Where a running thread is, outermost first, without the frames of flyteray and Ray; paths as in tracebacks."""
    return _users(traceback.extract_stack(frame))


def _users(stack: Iterable[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    kept = [frame for frame in stack if not any(ours in frame.filename for ours in _OURS)]
    kept = list(dropwhile(lambda frame: any(way in frame.filename for way in _WAY_IN), kept))
    for frame in kept:
        frame.line  # noqa: B018  # reads the source while the file's real path is still known
        frame.filename = _BUNDLE.sub("", frame.filename)
    return kept


def _described(error: BaseException) -> ErrorInfo:
    code, kind = _name(type(error)), "user"
    if _is(error, BaseRuntimeError):
        own = vars(error)  # a subclass of the user's may not have called ours
        code = own["code"] if isinstance(own.get("code"), str) else code
        kind = own["kind"] if own.get("kind") in get_args(Kind) else kind
    return ErrorInfo(
        code=printable(code, _NAME),
        kind=cast(Kind, kind),
        message=message(error),
        traceback=user_traceback(error),
        pickled=_pickled(error),
        final=_is(error, FINAL),
    )


def _is(error: BaseException, kind: type | tuple[type, ...]) -> bool:
    return issubclass(type(error), kind)  # not isinstance(): that asks the object for its __class__


def _chain(described: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    links = [described]
    while links:
        link = links.pop()
        yield link
        of_group: Iterable[traceback.TracebackException] = getattr(link, "exceptions", None) or ()
        links.extend(each for each in (link.__cause__, link.__context__, *of_group) if each is not None)


def _bare_traceback(error: BaseException) -> str:
    try:
        stack = _users(traceback.extract_tb(error.__traceback__, limit=-_FRAMES))
        told = "".join(traceback.StackSummary.from_list(stack).format())
        return printable(f"Traceback (most recent call last):\n{told}{_name(type(error))}\n") if stack else ""
    except BaseException:  # noqa: BLE001  # the message alone must do
        return ""


def _name(kind: type) -> str:
    # Not kind.__name__: a metaclass of the user's may have something to say there.
    return cast(str, type.__dict__["__name__"].__get__(kind))


def _why_exit(error: SystemExit) -> str:
    """Why code has left by ``sys.exit``: what it was given, or for a number what the parser of arguments says."""
    code = error.code
    if code is None or isinstance(code, int):
        called = "sys.exit() was called" if code is None else f"sys.exit({code}) was called"
        return f"{called}: {said}" if (said := _said_by_argparse(error)) else called
    return str(code)


def _said_by_argparse(error: SystemExit) -> str:
    for step in _linked(error.__traceback__):
        code = step.tb_frame.f_code
        if code.co_name == "error" and code.co_filename == argparse.__file__:
            return str(step.tb_frame.f_locals.get("message", ""))
    return ""


def _pickled(error: BaseException) -> bytes | None:
    def there_and_back() -> bytes | None:
        data: bytes = cloudpickle.dumps(error)
        fits = len(data) <= _PICKLED and isinstance(cloudpickle.loads(data), BaseException)
        return data if fits else None

    return _within(_PICKLE_S, there_and_back)


def _unpickled(data: bytes | None) -> BaseException | None:
    def load() -> object:
        with loads().loading():
            return cloudpickle.loads(data)

    error = _within(_PICKLE_S, load) if data is not None else None
    return error if isinstance(error, BaseException) else None


def _within(seconds: float, function: Callable[[], T]) -> T | None:
    """What a function of the user's returns; None where it fails in any way, or is not done in time."""
    results: list[T] = []

    def work() -> None:
        with contextlib.suppress(BaseException):  # the user's module may be absent here: the text must do
            results.append(function())

    thread = threading.Thread(target=work, name="flyteray-failure", daemon=True)
    thread.start()
    thread.join(seconds)
    in_time = results[:]
    for _ in range(_ENDINGS):  # what it computes in vain is not to keep a core busy; it may catch some
        if not thread.is_alive():
            break
        ident = ctypes.c_ulong(thread.ident or 0)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(SystemExit))
        thread.join(_ENDING_S)
    return in_time[0] if in_time else None
