"""An entry of the cache tells of one result that is kept, and where."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import Field

from flyteray._plan.spec import CachedCall, Spec

FOLDER = "cache"  # in the storage
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_SHOWN = 60  # characters of a task's name


class Entry(Spec):
    """One result: the task that it is of, the run and action that computed it, when, and its size in bytes.

    ``classes`` are the shapes of the classes that it may have parts of, ``places`` the paths of its files and folders.
    """

    task: str
    key: str
    run: str
    action: str
    made_at: datetime
    nbytes: int
    classes: Mapping[str, str] = Field(default_factory=dict)
    places: tuple[str, ...] = ()

    @property
    def outputs(self) -> str:
        """Where in storage the outputs are."""
        return f"{folder(self.task)}/{self.key}.outputs"

    def is_older(self, than: timedelta, at: datetime) -> bool:
        """Whether it was made longer ago than that."""
        return at - self.made_at > than


def folder(task: str) -> str:
    """Where in storage the results of a task are: a name of bounded length in plain letters, whatever the task's is."""
    plain = _ODD.sub("_", task)[:_SHOWN].lstrip(".") or "_"
    return f"{FOLDER}/{plain}-{hashlib.sha256(task.encode()).hexdigest()[:8]}"


def entry_key(call: CachedCall, own: bool) -> str:
    """Where in storage the entry of a call is: the newest of all, or of its own project and domain."""
    owner = f".{call.owner}" if own and call.owner else ""
    return f"{folder(call.task)}/{call.key}{owner}.json"
