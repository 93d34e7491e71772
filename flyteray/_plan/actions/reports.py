"""The report of an attempt is kept in storage as one page, beside the outputs of its action."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from flyteray._plan.info import ActionPhase
from flyteray._report.page import Heading
from flyteray._report.report import Report
from flyteray.errors import BaseRuntimeError, ReportNotFoundError
from flyteray.storage import Storage

logger = logging.getLogger(__name__)


def report_key(action: str, attempt: int) -> str:
    """Where a report is in the folder of its run; attempts are counted from 1."""
    return f"{action}/report/{attempt}.html"


def read(folder: Storage, run: str, action: str, attempt: int | None = None) -> str:
    """The page of an attempt, by default of the last one that has one; ``folder`` is that of the run, errors as of
    :func:`find`.
    """
    return folder.get(find(folder, run, action, attempt)).decode()


def find(folder: Storage, run: str, action: str, attempt: int | None = None) -> str:
    """The key of that page.

    Raises:
        ReportNotFoundError: there is none, with what there is and how a task gets one.
    """
    there = _attempts(folder, action)
    wanted = max(there, default=0) if attempt is None else attempt
    if wanted in there:
        return report_key(action, wanted)
    if there:
        raise ReportNotFoundError(
            f"Attempt {attempt} of action {action!r} of run {run!r} has no report: of that action there are those of "
            f"{', '.join(map(str, sorted(there)))}."
        )
    others = sorted({key.split("/")[0] for key in folder.list() if key.split("/")[1:2] == ["report"]})
    known = f" Those with one: {', '.join(others)}." if others else ""
    raise ReportNotFoundError(
        f"Action {action!r} of run {run!r} has no report. A task makes one where it is declared with "
        "@env.task(report=True); it is written when the task ends, or calls flyteray.report.flush() before."
        f"{known}"
    )


class KeptReport(Report):
    """A report that is kept, with the facts of its attempt above its tabs.

    Args:
        name: The title of the page.
        run, action: The action.
        attempt: Which of its attempts, counted from 1.
        opened: Opens the folder of the run; called when it is first written.
    """

    def __init__(self, name: str, run: str, action: str, attempt: int, opened: Callable[[], Storage]) -> None:
        super().__init__(name)
        self._facts = (f"run {run}", f"action {action}", f"attempt {attempt}")
        self._action, self._attempt = action, attempt
        self._opened = opened
        self._folder: Storage | None = None
        self._heading = Heading(self._facts, str(ActionPhase.RUNNING))
        self._began = time.monotonic()
        self._writing = threading.Lock()
        self._written = -1

    @property
    def key(self) -> str:
        """Where it is in the folder of its run."""
        return report_key(self._action, self._attempt)

    def flush(self) -> None:
        """Write the page. Who comes while others write waits, and is spared writing what they have written for it."""
        wanted = self._changes
        with self._writing:
            if self._written < wanted:
                self._write()

    def get_final_report(self) -> str:
        """The whole page as it is now: HTML that needs nothing else."""
        now = datetime.now(timezone.utc)
        took = f"{time.monotonic() - self._began:,.1f} s"
        when = f"{took}, as of {now:%Y-%m-%d %H:%M:%S} UTC"
        return self._page(self._heading._replace(when=when))

    def end(self, phase: ActionPhase, problem: str = "") -> bool:
        """Write the page when the attempt has ended, with the phase that it has reached and why it failed.

        It has ended as it did, so a storage that refuses is told by a warning. Returns whether the page is written.
        """
        self._heading = Heading(self._facts, str(phase), problem=problem)
        try:
            with self._writing:
                self._write()
        except (BaseRuntimeError, OSError, ImportError) as refused:
            logger.warning("The report of %s could not be written: %s", ", ".join(self._facts), refused)
            return False
        return True

    def _write(self) -> None:
        if self._folder is None:
            self._folder = self._opened()
            # What is there was tried before this action was called anew, by another attempt of who calls it.
            for later in _attempts(self._folder, self._action):
                if later > self._attempt:
                    self._folder.delete(report_key(self._action, later))
        changes, page = self._changes, self.get_final_report()
        self._folder.put(self.key, page.encode("utf-8", "backslashreplace"))
        self._written = changes


def _attempts(folder: Storage, action: str) -> set[int]:
    return {int(key.rpartition("/")[2].removesuffix(".html")) for key in folder.list(f"{action}/report")}
