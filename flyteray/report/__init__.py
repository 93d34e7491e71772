"""A report shows what a task does and finds: HTML, tables, figures and images in one page, kept beside its outputs.

Say ``@env.task(report=True)``, then :func:`log` in the task. Each attempt of each action has a report of its own, which
``Run.get_report`` and ``flyteray get report RUN`` read. It is written when the attempt ends, well or not, and at each
:func:`flush` before that. In a task without ``report=True`` and outside tasks all of this does nothing.

All coroutines of a task write to its report, as do functions that run by ``asyncio.to_thread``; the tasks that it calls
have their own. A thread that the task starts itself does not know its task: give it the :class:`Tab`, or
:func:`current_report`.
"""

from __future__ import annotations

from flyteray import _public
from flyteray._report.report import Report, Tab
from flyteray.report.timeline import Timeline, abbreviate, duration_ms
from flyteray.report.writing import current_report, flush, get_tab, log, replace

__all__ = [
    "Report",
    "Tab",
    "Timeline",
    "abbreviate",
    "current_report",
    "duration_ms",
    "flush",
    "get_tab",
    "log",
    "replace",
]

_public.adopt(__name__, globals())
