"""A trigger as it stood when it was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flyteray._handles import AsJson
from flyteray._plan.info import to_json
from flyteray._plan.triggers.schedule import ScheduleSpec
from flyteray._plan.triggers.trigger import TriggerInfo


class TriggerDetails(AsJson):
    """The record of a trigger, which :func:`flyteray.run` can fire.

    Attributes:
        info: All that is recorded.
    """

    def __init__(self, info: TriggerInfo) -> None:
        self.info = info

    @property
    def name(self) -> str:
        """The name, which tells the triggers of a task apart."""
        return self.info.spec.name

    @property
    def task_name(self) -> str:
        """The full name of the task that it runs."""
        return self.info.spec.task

    @property
    def task_version(self) -> str | None:
        """The version that it runs; None: the one that was deployed last when it fires."""
        return self.info.spec.version

    @property
    def is_active(self) -> bool:
        """Whether it starts runs by itself."""
        return self.info.active

    @property
    def automation_spec(self) -> ScheduleSpec | None:
        """The schedule; None for a trigger that is fired by hand."""
        return self.info.spec.schedule

    @property
    def next_time(self) -> datetime | None:
        """The time of the next run, in UTC; None: it starts none by itself."""
        return self.info.next_tick

    @property
    def url(self) -> str:
        """Empty: triggers have no page."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """All that is recorded, as plain JSON values."""
        return to_json(self.info)

    def __repr__(self) -> str:
        return f"Trigger(name={self.name!r}, task_name={self.task_name!r}, active={self.is_active})"
