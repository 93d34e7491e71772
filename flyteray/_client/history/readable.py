"""What handles of runs and of actions can both be asked: what the action has read, given, written and run."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path

from flyteray._client.bridge import ListMethodVerb, MethodVerb, warn_caller
from flyteray._client.history import printed, recorded
from flyteray._client.session.session import session
from flyteray._declare.facts import CodeBundle
from flyteray._plan.actions import logs, reports
from flyteray._plan.spec import RunSpec
from flyteray._plan.values.outputs import ActionInputs
from flyteray.storage import open_storage


class Readable(ABC):
    """The records of one action; of a run, those of its root."""

    @property
    @abstractmethod
    def run_name(self) -> str:
        """The name of the run."""

    @property
    @abstractmethod
    def _action(self) -> str:
        """The name of the action."""

    @property
    def url(self) -> str:
        """The place in storage of what is kept of it."""
        return f"{recorded.storage().url}/runs/{self.run_name}"

    @MethodVerb
    async def inputs(self) -> ActionInputs:
        """The inputs by name. Inputs of more than 16 MiB are kept for the run's own task only.

        Raises:
            RuntimeUserError: they are not kept; its code is ``InputsNotKept``.
            ModuleLoadError: a class in them can't be imported here.
            StorageError: the storage can't be read.
        """
        return await recorded.inputs_of(self.run_name, self._action)

    @ListMethodVerb
    async def get_logs(
        self,
        attempt: int | None = None,
        filter_system: bool = False,
        show_ts: bool = False,
        *,
        action: str | None = None,
    ) -> list[str]:
        """The lines that it has written: to standard output, then to standard error.

        They are in storage within two seconds, also when the node is gone that they were written on; what a process
        wrote in the two seconds before it was killed may be missing. Of more than 8 MiB to one of the two the middle is
        not kept, and a line says so.

        Args:
            attempt: Which attempt, counted from 1. Default: the last one that has written anything.
            filter_system: Changes nothing: what Ray and flyteray write themselves is never among them.
            show_ts: Put the time before each line at which it was there, to a second or so.
            action: Of a child, by its name. Not of Flyte.

        Raises:
            ValueError: the run has no such action, or that has no such attempt.
            StorageError: the storage can't be read.
        """
        name = await self._checked(action, attempt)
        return await asyncio.to_thread(logs.lines, recorded.storage(), self.run_name, name, attempt, show_ts)

    @MethodVerb
    async def show_logs(
        self,
        attempt: int | None = None,
        max_lines: int = 100,
        show_ts: bool = False,
        raw: bool = False,
        filter_system: bool = False,
        *,
        action: str | None = None,
        follow: bool = False,
    ) -> None:
        """Print what it has written.

        Args:
            attempt, show_ts, filter_system, action: As of :meth:`get_logs`, whose errors are raised.
            max_lines: The last ones of those that are there.
            raw: Changes nothing.
            follow: Print what comes as well, until the action has ended; of the attempts that follow, too, where none
                is named. Not of Flyte.
        """
        name = await self._checked(action, attempt)
        if not follow:
            for line in (await self.get_logs.aio(attempt, filter_system, show_ts, action=name))[-max_lines:]:
                print(line)
            return
        there = len(await self.get_logs.aio(attempt, filter_system, action=name))
        number = 0
        async for each in printed.follow(self.run_name, name, attempt, show_ts):
            number += 1
            if number > there - max_lines:
                print(each.stamped, flush=True)

    @MethodVerb
    async def get_report(self, attempt: int | None = None, *, action: str | None = None) -> str:
        """The report as one HTML page that needs nothing else.

        While the task runs it is as it was when the task last called :func:`flyteray.report.flush`.

        Args:
            attempt: Which attempt, counted from 1. Default: the last one that has a report.
            action: Of a child, by its name. Not of Flyte.

        Raises:
            ValueError: the run has no such action, or that has no such attempt.
            ReportNotFoundError: the attempt has none: its task is declared without ``report=True``, or has written
                none yet.
            StorageError: the storage can't be read.
        """
        name = await self._checked(action, attempt)
        folder = open_storage(f"{recorded.storage().url}/runs/{self.run_name}")
        return await asyncio.to_thread(reports.read, folder, self.run_name, name, attempt)

    @MethodVerb
    async def code_bundle(self) -> CodeBundle | None:
        """The code that was shipped for the run; None where none was, as the cluster had it already."""
        return await asyncio.to_thread(recorded.code_of, await self._spec())

    @MethodVerb
    async def download_code(
        self, dest: str | Path | None = None, extract: bool = True, attempt: int | None = None
    ) -> Path:
        """Put the code that was shipped for the run into a folder, and return where it is.

        Args:
            dest: The folder, which is made. Default: one in the working folder, with the run's name and ``-code``.
            extract: Unpack it; else the zip file is put there.
            attempt: Changes nothing: all attempts of a run have the same code.

        Raises:
            CodeBundleError: none was shipped.
            StorageError: the storage can't be read.
        """
        return await asyncio.to_thread(recorded.download_code, await self._spec(), dest, extract)

    @MethodVerb
    async def get_debug_url(self) -> str | None:
        """None, with a warning: Flyte's own service has debuggers to connect to, and Ray none with an address."""
        warn_caller(
            'A run on Ray has no debug URL: run the task with mode="local" for a debugger in this process, or use '
            "Ray's distributed debugger."
        )
        return None

    async def _spec(self) -> RunSpec:
        return await session().controller.runs.spec(self.run_name)

    async def _checked(self, action: str | None, attempt: int | None) -> str:
        """The action that is meant; ValueError where the run has no such one, or that has no such attempt."""
        found = await recorded.find_action(self.run_name, action or self._action)
        if attempt is not None and attempt not in range(1, found.attempts + 1):
            raise ValueError(
                f"Action {found.action!r} of run {self.run_name!r} has no attempt {attempt!r}: it has had "
                f"{found.attempts}."
            )
        return found.action
