"""A follower takes the outputs of newer runs of a task while the app runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from flyteray._plan import failure
from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.parameters import Parameters, Resolver, Value
from flyteray.errors import BaseRuntimeError, RuntimeSystemError

logger = logging.getLogger(__name__)

_POLL_S = 10.0  # how long one question waits
_RETRY_S = 1.0
_RETRY_AT_MOST_S = 60.0
_OLD_FILES_S = 30.0  # a handler that has the path of an old file may still read it
_UPDATE_S = 10.0  # for an update that goes on when the replica stops

Newer = Callable[[Sequence[OutputRef], Sequence[str], float], list[str]]
"""Gives the newest run for each output: see :meth:`Outputs.newer`."""


@dataclass(eq=False, repr=False)
class Follower:
    """Takes newer outputs for the parameters that ask for it, in a thread of its own, until it is stopped.

    A newer value is fetched beside the old one and handed to ``update``. Only when that returns, all that have changed
    take the place of the old ones at once. When it raises, the old ones stay, and it goes on with the next newer run.

    ``update`` is given the arguments of the app's functions as they are to be, and blocks until the app has taken them.
    ``tell`` is called with ``outputs`` and ``refused`` of :class:`ReplicaInfo` when they have changed.
    """

    specs: Sequence[ParameterSpec]
    parameters: Parameters
    resolver: Resolver
    folder: Path  # where the parameters are published
    _: KW_ONLY
    newer: Newer
    update: Callable[[Mapping[str, Any]], None]
    tell: Callable[..., None] = lambda **_: None

    def __post_init__(self) -> None:
        self._specs = {
            each.name: each for each in self.specs if each.output is not None and each.output.follow
        }
        self._refs = {name: each.output for name, each in self._specs.items() if each.output is not None}
        self._seen = {name: self.parameters.runs[name] for name in self._specs}
        self._refused: dict[str, str] = {}
        self._trouble: dict[str, str] = {}  # no refusal, but it keeps newer values away as well
        self._unpublished = False
        self._told: dict[str, dict[str, str]] = {"outputs": self.parameters.runs, "refused": {}}
        self._old: list[tuple[float, Value]] = []
        self._retry_s = _RETRY_S
        self._stopping = threading.Event()
        self._taking = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="flyteray-follow", daemon=True)

    def start(self) -> None:
        """Begin to follow; nothing happens where no parameter asks for it."""
        if self._specs:
            self._thread.start()

    def stop(self) -> None:
        """Take nothing any more. Blocks while an update goes on, for seconds at most."""
        self._stopping.set()
        if self._taking.acquire(timeout=_UPDATE_S):
            self._taking.release()
            for _, value in self._old:
                value.release()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
                self._trouble = {}
            except BaseRuntimeError:
                logger.warning("Asking for newer outputs failed; it is tried again.", exc_info=True)
                self._stopping.wait(_RETRY_S)
            except Exception as error:
                logger.exception("Following newer outputs failed; it is tried again.")
                self._trouble = {name: _refusal(run, error) for name, run in self._seen.items()}
                self._stopping.wait(_RETRY_S)
            self._tell_news()

    def _look(self) -> None:
        names = list(self._specs)
        newest = self.newer([self._refs[name] for name in names], list(self._seen.values()), _POLL_S)
        changed = {name: run for name, run in zip(names, newest, strict=True) if run != self._seen[name]}
        with self._taking:
            if self._stopping.is_set():
                return
            if changed:
                self._take(changed)
            self._release_old()
            if self._unpublished:
                self.parameters.publish(self.folder)
                self._unpublished = False

    def _take(self, changed: Mapping[str, str]) -> None:
        values: dict[str, Value] = {}
        try:
            for name, run in changed.items():
                values[name] = self.resolver.fetch(self._specs[name], run)
            now = {name: value.argument for name, value in values.items()}
            self.update({**self.parameters.arguments, **now})
            for name, value in values.items():
                values[name] = self.resolver.place(self._specs[name], value)
        except Exception as error:  # noqa: BLE001  # user code: whatever it raises refuses the values
            for value in values.values():
                value.release()
            self._refuse(changed, error)
            return
        until = time.monotonic() + _OLD_FILES_S
        old = (self.parameters.values[name] for name in changed)
        self._old += [(until, value.without_content()) for value in old if value.download is not None]
        self.parameters.replace(values)
        self._unpublished = True
        self._seen |= changed
        self._retry_s = _RETRY_S
        self._refused = {name: why for name, why in self._refused.items() if name not in changed}
        logger.info("Took %s.", ", ".join(f"{name} of run {run}" for name, run in changed.items()))

    def _refuse(self, changed: Mapping[str, str], error: Exception) -> None:
        described = failure.describe(error)
        logger.warning("Kept the old values: %s\n%s", described.message, described.traceback)
        self._refused |= {name: _refusal(run, error) for name, run in changed.items()}
        self._tell_news()  # before it waits
        if _may_pass(error):
            self._stopping.wait(self._retry_s)
            self._retry_s = min(2 * self._retry_s, _RETRY_AT_MOST_S)
        else:
            self._seen |= changed

    def _tell_news(self) -> None:
        news = {"outputs": self.parameters.runs, "refused": {**self._refused, **self._trouble}}
        if news != self._told:
            self._told = news
            self.tell(**news)

    def _release_old(self) -> None:
        now = time.monotonic()
        for until, value in self._old:
            if until <= now:
                value.release()
        self._old = [(until, value) for until, value in self._old if until > now]


def _refusal(run: str, error: Exception) -> str:
    described = failure.describe(error)
    return f"{run}: {described.code}: {described.message}"


def _may_pass(error: Exception) -> bool:
    """Whether the same run is worth another try: neither the value nor the app is wrong."""
    return isinstance(error, RuntimeSystemError) or (
        isinstance(error, BaseRuntimeError) and isinstance(error.__cause__, (OSError, RuntimeSystemError))
    )
