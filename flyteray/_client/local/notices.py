"""Notifications of local runs: sent by this process, on a thread that it waits for before it ends."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from flyteray._client.local.furnishing import local_values
from flyteray._declare.options.notification import Notification
from flyteray._logging import system_logger
from flyteray._notify.delivery import AGAIN_S, NotDeliveredError, deliver
from flyteray._notify.messages import Ended, spec_of
from flyteray._plan import failure
from flyteray._plan.info import ActionPhase
from flyteray._plan.spec import SecretSpec
from flyteray._settings import Settings
from flyteray.errors import ActionAbortedError, TaskTimeoutError

_TRIES = 3


@contextlib.contextmanager
def told(notifications: Sequence[Notification], run: Ended, settings: Settings) -> Iterator[None]:
    """Tell how a run ends that goes on in this block."""
    phase, why = ActionPhase.SUCCEEDED, ""
    try:
        yield
    except BaseException as error:
        phase, why = _phase(error), failure.describe(error).summary
        raise
    finally:
        ended = replace(run, phase=str(phase), error=why)
        for each in notifications:
            if not (phases := spec_of(each).phases) or phase in phases:
                send = functools.partial(_send, each, ended, settings)
                threading.Thread(target=send, name="flyteray-notify").start()


def _phase(error: BaseException) -> ActionPhase:
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError, ActionAbortedError)):
        return ActionPhase.ABORTED
    return ActionPhase.TIMED_OUT if isinstance(error, TaskTimeoutError) else ActionPhase.FAILED


def _send(notification: Notification, ended: Ended, settings: Settings) -> None:
    for pause_s in (*AGAIN_S[: _TRIES - 1], None):
        try:
            deliver(notification, ended, settings, functools.partial(_secret, settings))
        except NotDeliveredError as error:
            if error.final or pause_s is None:
                kind = type(notification).__name__
                system_logger().warning("%s of run %s was not sent: %s", kind, ended.run, error)
                return
            time.sleep(pause_s)
        else:
            return


def _secret(settings: Settings, name: str) -> bytes:
    group, _, key = name.partition("/")
    return local_values([SecretSpec(key=key, group=group)], settings)[name]
