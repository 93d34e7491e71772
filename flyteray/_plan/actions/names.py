"""An action's name follows from what it is: a parent that runs again gives its calls the names that they had before."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flyteray._plan.values.digest import digest

if TYPE_CHECKING:
    from flyteray.io.location import Location

ROOT = "a0"
"""The root action of every run."""

_SIZE = 8  # bytes, of which a name is the hex: 16 letters and digits


class ActionNames:
    """The names of the actions that one action calls, in the order of the calls; ``content`` names files in inputs."""

    def __init__(self, parent: str, content: Callable[[Location[Any]], str] | None = None) -> None:
        self._parent = parent
        self._content = content
        self._calls: dict[bytes, int] = {}  # by digests, not names: a parent may call 100,000 times
        self._lock = threading.Lock()

    def next(self, task: str, inputs: Mapping[str, object], group: str | None = None) -> str:
        """The name of a call: of its parent, task, inputs and group, and of how many equal calls came before.

        Inputs that nothing can name (locks, connections) count as equal.
        """
        what = f"{self._parent}\0{task}\0{self._digest(inputs)}\0{group or ''}".encode()
        call = hashlib.blake2b(what, digest_size=_SIZE).digest()
        with self._lock:
            number = self._calls.get(call, 0)
            self._calls[call] = number + 1
        if not number:
            return call.hex()
        return hashlib.blake2b(b"%s\0%d" % (what, number), digest_size=_SIZE).hexdigest()

    @property
    def some(self) -> bool:
        """Whether anything was named: the action has called something."""
        return bool(self._calls)

    def below(self, action: str) -> ActionNames:
        """The names of what one of these actions calls in the same process."""
        return ActionNames(action, self._content)

    def _digest(self, inputs: Mapping[str, object]) -> str:
        try:
            return digest(inputs, self._content)
        except Exception:  # noqa: BLE001  # users' __reduce__ may raise anything
            return ""
