"""Loggers write what is logged by flyteray itself (``flyteray``) and by its users' programs (``flyteray.user``).

Where the program has configured logging (the root logger has handlers) records go there, and only there; else they are
written to stderr, the user's from INFO on, flyteray's own from WARNING on.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

from flyteray._declare.context import ctx

LogFormat = Literal["console", "json"]
RESET = "FLYTE_RESET_ROOT_LOGGER"
"""The variable that has the root logger given flyteray's form, where it is ``1``."""

_NAMES = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}


def level(what: str, given: int | str) -> int:
    """A log level as a number; ``what`` says in an error whose.

    Raises:
        TypeError: neither a number nor a name.
        ValueError: a name that is none.
    """
    if isinstance(given, bool) or not isinstance(given, (int, str)):
        raise TypeError(f"{what} must be a log level, such as logging.INFO or 'INFO', got {given!r}.")
    if isinstance(given, int):
        return given
    if given.isdecimal():
        return int(given)
    if given.lower() not in _NAMES:
        raise ValueError(f"{what} is {given!r}: use {', '.join(_NAMES)} or a number.")
    return _NAMES[given.lower()]


def user_logger() -> logging.Logger:
    """The logger of users' programs: INFO unless ``USER_LOG_LEVEL`` or ``init(user_log_level=...)`` says otherwise.

    In a task its records carry ``run_name`` and ``action_name``; elsewhere both are None.
    """
    _ready()
    return logging.getLogger("flyteray.user")


def system_logger() -> logging.Logger:
    """The logger of flyteray itself: WARNING unless ``LOG_LEVEL`` or ``init(log_level=...)`` says otherwise."""
    _ready()
    return logging.getLogger("flyteray")


@functools.cache
def said_once(message: str) -> None:
    """Log a message at INFO, the first time that it is to be said in this process."""
    system_logger().info(message)


def configure(
    *,
    log_level: int | None = None,
    user_log_level: int | None = None,
    log_format: LogFormat | None = None,
    reset_root_logger: bool = False,
    default: int | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Set levels and form; the root logger is left alone unless it is to be reset.

    Args:
        log_level: Of flyteray itself. Default: ``LOG_LEVEL``, else ``default``.
        user_log_level: Of users' programs. Default: ``USER_LOG_LEVEL``, else INFO.
        log_format: ``"json"``: one object a line. Default: ``LOG_FORMAT``, else lines for people.
        reset_root_logger: Give the root logger flyteray's form and level in place of its handlers.
            ``FLYTE_RESET_ROOT_LOGGER=1`` does as well.
        default: What flyteray's own level is where nobody says anything, now and later. Default: WARNING.
        environ: The environment variables.
    """
    own = logging.getLogger("flyteray")
    users = logging.getLogger("flyteray.user")
    known = next((each.default for each in own.handlers if isinstance(each, _Fallback)), logging.WARNING)
    default = known if default is None else default
    of_own = _of(environ, "LOG_LEVEL", default) if log_level is None else log_level
    own.setLevel(of_own)
    users.setLevel(_of(environ, "USER_LOG_LEVEL", logging.INFO) if user_log_level is None else user_log_level)
    form = log_format or ("json" if environ.get("LOG_FORMAT") == "json" else "console")
    own.handlers[:] = [handler for handler in own.handlers if not isinstance(handler, _Fallback)]
    own.addHandler(_Fallback(form, default))
    own.propagate = form != "json"  # asked for as JSON, it is not to be had in another form as well
    for logger in (own, users):
        if _stamped not in logger.filters:
            logger.addFilter(_stamped)
    if reset_root_logger or environ.get(RESET) == "1":
        root = logging.getLogger()
        handler = logging.StreamHandler()
        handler.setFormatter(_formatter(form))
        handler.addFilter(_stamped)
        root.handlers[:] = [handler]
        root.setLevel(of_own)


@contextlib.contextmanager
def as_said_by(variables: Mapping[str, str]) -> Iterator[None]:
    """Log as ``LOG_LEVEL`` and the other variables say, where these have some of them, until the block ends."""
    if not {"LOG_LEVEL", "USER_LOG_LEVEL", "LOG_FORMAT", RESET}.intersection(variables):
        yield
        return
    _ready()
    loggers = [logging.getLogger(name) for name in ("flyteray", "flyteray.user", None)]
    before = [(each.level, each.handlers[:], each.propagate) for each in loggers]
    own, users, _ = (each.level for each in loggers)
    configure(
        log_level=None if "LOG_LEVEL" in variables else own,
        user_log_level=None if "USER_LOG_LEVEL" in variables else users,
        environ=variables,
    )
    try:
        yield
    finally:
        for logger, (known, handlers, propagates) in zip(loggers, before, strict=True):
            logger.setLevel(known)
            logger.handlers[:] = handlers
            logger.propagate = propagates


def _ready() -> None:
    """The loggers are configured when somebody first asks for one, unless ``init`` did it before."""
    if not any(isinstance(handler, _Fallback) for handler in logging.getLogger("flyteray").handlers):
        configure()


def _of(environ: Mapping[str, str], name: str, default: int) -> int:
    """The level that a variable names; what is none is not flyteray's to refuse: others read it too."""
    text = environ.get(name, "").strip().lower()
    return int(text) if text.isdecimal() else _NAMES.get(text, default)


def _stamped(record: logging.LogRecord) -> bool:
    """Let a record say which action it is of."""
    if not hasattr(record, "run_name"):
        action = ctx().action
        record.run_name = action.run_name if action else None
        record.action_name = action.name if action else None
    return True


class _Fallback(logging.Handler):
    """Writes to stderr where the program has configured nothing, and JSON wherever that was asked for."""

    def __init__(self, form: LogFormat, default: int) -> None:
        super().__init__()
        self.default = default
        self.setFormatter(_formatter(form))
        self.addFilter(_stamped)
        self.addFilter(lambda _: form == "json" or not logging.getLogger().handlers)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")  # as it is then: it may be replaced
        except Exception:  # noqa: BLE001  # logging's own way: it never fails the program
            self.handleError(record)


def _formatter(form: LogFormat) -> logging.Formatter:
    return _Json() if form == "json" else _Console("%(asctime)s %(levelname)s %(name)s: %(message)s")


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        run = getattr(record, "run_name", None)
        return f"[{run}][{getattr(record, 'action_name', None)}] {line}" if run else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        said = {
            "timestamp": datetime.fromtimestamp(record.created).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "funcName": record.funcName,
            "run_name": getattr(record, "run_name", None),
            "action_name": getattr(record, "action_name", None),
            "exc_info": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in said.items() if value is not None})
