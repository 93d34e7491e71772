"""Exceptions that cross processes: described where they happen, restored where they are asked for."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from pathlib import Path
from types import FrameType, TracebackType

import cloudpickle

import flyteray
from flyteray._declare.loading import loads
from flyteray._plan.info import ErrorInfo
from flyteray.errors import BaseRuntimeError, RuntimeSystemError, RuntimeUserError

_OURS = (f"{Path(flyteray.__file__).parent}/", "/site-packages/ray/", "/dist-packages/ray/")
_WAY_IN = (
    "<frozen importlib",
    "/importlib/",
    "/asyncio/",
    "/concurrent/futures/",
    "/threading.py",
    "uvloop/",
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
    """An exception as a value: its code, its message, the user's frames, and itself where it pickles."""
    flyte_error = error if isinstance(error, BaseRuntimeError) else None
    return ErrorInfo(
        code=flyte_error.code if flyte_error else type(error).__name__,
        kind=flyte_error.kind if flyte_error else "user",
        message=str(error),
        traceback=user_traceback(error),
        pickled=_pickled(error),
    )


def restore(info: ErrorInfo) -> BaseRuntimeError:
    """The flyteray error to raise for ``info``.

    A flyteray error comes back as itself. Any other exception arrives as :class:`RuntimeUserError` with its
    class name as ``code`` and the original as ``__cause__`` (where it can be unpickled here); the user's
    traceback is printed with it.
    """
    original = _unpickled(info)
    remote = RemoteTraceback(info.traceback) if info.traceback else None
    if original is not None and remote is not None and original.__cause__ is None:
        original.__cause__ = remote
    if isinstance(original, BaseRuntimeError):
        return original
    cls = RuntimeSystemError if info.kind == "system" else RuntimeUserError
    error = cls(info.code, f"{info.code}: {info.message}" if info.message else info.code)
    error.__cause__ = original or remote
    return error


def as_flyteray(error: Exception) -> BaseRuntimeError:
    """A flyteray error as it is; any other as :class:`RuntimeUserError` with its class name as ``code``."""
    if isinstance(error, BaseRuntimeError):
        return error
    code = type(error).__name__
    return RuntimeUserError(code, f"{code}: {error}" if str(error) else code)


def user_traceback(error: BaseException) -> str:
    """The traceback of ``error`` and its causes without the frames of flyteray and Ray.

    Paths inside an unpacked bundle are shown as the user knows them, relative to the bundle. Empty when no
    frame is the user's.
    """
    described = traceback.TracebackException.from_exception(error)
    any_frame = False
    for link in _chain(described):
        kept = _users(link.stack)
        any_frame = any_frame or bool(kept)
        link.stack = traceback.StackSummary.from_list(kept)
    return "".join(described.format()) if any_frame or isinstance(error, SyntaxError) else ""


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


def _chain(described: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    link: traceback.TracebackException | None = described
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__


def _pickled(error: BaseException) -> bytes | None:
    try:
        data: bytes = cloudpickle.dumps(error)
        cloudpickle.loads(data)
    except Exception:  # noqa: BLE001  # users' exceptions fail in any way: then the text must do
        return None
    return data


def _unpickled(info: ErrorInfo) -> BaseException | None:
    if info.pickled is None:
        return None
    try:
        with loads().loading():
            error = cloudpickle.loads(info.pickled)
    except Exception:  # noqa: BLE001  # the user's module may be absent here: then the text must do
        return None
    return error if isinstance(error, BaseException) else None
