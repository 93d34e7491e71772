"""Windows are times with bounds of their own for an app's replicas: which of them is open. The time is passed in."""

from __future__ import annotations

from datetime import datetime, timedelta

from flyteray._plan.spec import AppSpec, WindowSpec
from flyteray._plan.triggers.schedule import ScheduleSpec, last_tick


def sized(spec: AppSpec, at: datetime) -> AppSpec:
    """An app version with the bounds of its replicas that hold at a point in time."""
    policy = spec.scaling
    if policy is None or not policy.windows:
        return spec
    window = _open(policy.windows, at)
    if window is None:
        return spec
    bounds = {"most": window.most, "sleeps_after_s": window.sleeps_after_s}
    return spec.model_copy(update={"replicas": window.least, "scaling": policy.model_copy(update=bounds)})


def most_ever(spec: AppSpec) -> int:
    """The most replicas that an app version may have at any time."""
    if spec.scaling is None:
        return spec.replicas
    return max([spec.scaling.most, *(window.most for window in spec.scaling.windows)])


def _open(windows: tuple[WindowSpec, ...], at: datetime) -> WindowSpec | None:
    """The window that is open; of several the one that has opened last."""
    opened: list[tuple[datetime, int]] = []
    for number, window in enumerate(windows):
        tick = last_tick(ScheduleSpec(cron=window.cron, timezone=window.timezone), at, at)
        if tick is not None and at - tick < timedelta(seconds=window.lasts_s):
            opened.append((tick, number))
    return windows[max(opened)[1]] if opened else None
