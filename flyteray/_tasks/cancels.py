"""Cancels are sent again until what they are for has ended: Ray loses one that meets a task which is about to begin."""

from __future__ import annotations

import functools
import threading

import ray

_AGAIN_S = 1.0


class Cancels:
    """The tasks that were cancelled and have not ended yet, and a thread that cancels them again."""

    def __init__(self) -> None:
        self._open: list[ray.ObjectRef] = []
        self._change = threading.Lock()
        self._repeats = False

    def add(self, ref: ray.ObjectRef) -> None:
        """Cancel the task behind ``ref``, softly, and all that it has started."""
        _cancel(ref)
        with self._change:
            if ref not in self._open:
                self._open.append(ref)
            if not self._repeats:
                self._repeats = True
                threading.Thread(target=self._repeat, name="flyteray-cancels", daemon=True).start()

    def _repeat(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(_AGAIN_S)
            with self._change:
                _, self._open = ray.wait(
                    self._open, num_returns=len(self._open), timeout=0, fetch_local=False
                )
                if not self._open:
                    self._repeats = False
                    return
                left = list(self._open)
            for ref in left:
                _cancel(ref)


@functools.cache
def _cancels() -> Cancels:
    return Cancels()


def cancel(ref: ray.ObjectRef) -> None:
    """Cancel the task behind ``ref``, softly, and all that it has started; it is told again until it has ended."""
    _cancels().add(ref)


def _cancel(ref: ray.ObjectRef) -> None:
    ray.cancel(ref, force=False, recursive=True)
