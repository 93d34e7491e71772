"""Outputs of tasks for apps in local mode: of this process's local runs, and of those that a local cluster recorded."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flyteray import _private
from flyteray._client.runs.local import LocalRun, local_runs
from flyteray._declare.near import did_you_mean
from flyteray._plan.info import ActionPhase, RunInfo
from flyteray._plan.spec import OutputRef
from flyteray._plan.tasks import declared_tasks
from flyteray._plan.values.outputs import output_key
from flyteray._settings import Settings
from flyteray.errors import ParameterMaterializationError, RunNotFoundError
from flyteray.storage import open_storage
from flyteray.storage.values import write_value

if TYPE_CHECKING:
    from flyteray._control.registry.registry import Registry

logger = logging.getLogger(__name__)

_LOOK_S = 0.5  # how often newer runs are looked for
_KEPT = 2  # of a followed task: an app may be about to read the one before the newest


class LocalOutputs:
    """The outputs of runs: those of local ones are put into ``folder``, where the processes of apps can read them.

    The file ``newest`` tells these the newest runs of the tasks that they follow.
    """

    def __init__(self, folder: Path, newest: Path) -> None:
        self._folder = folder
        self._newest = newest
        self._written: list[str] = []
        self._pinned: set[str] = set()
        self._followed: dict[str, tuple[str, OutputRef, Settings]] = {}
        self._found: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look_forever, name="flyteray-local-outputs", daemon=True)

    def locate(self, parameter: str, output: OutputRef, settings: Settings) -> tuple[str, str]:
        """The run that has the output, and its storage; ParameterMaterializationError where there is none."""
        with self._lock:
            run, storage = self._locate(parameter, output, settings)
            self._pinned.add(run)
            return run, storage

    def follow(self, parameter: str, output: OutputRef, settings: Settings) -> None:
        """Tell the apps of the newest run of a task from now on; errors as in :meth:`locate`."""
        with self._lock:
            found = self._locate(parameter, output, settings)
            self._followed[output.digest()] = parameter, output, settings
            self._tell(self._found | {output.digest(): found})
            if self._thread.ident is None:
                self._thread.start()

    def _look_forever(self) -> None:
        while self._folder.exists():
            with self._lock:
                found = dict(self._found)
                for key, followed in self._followed.items():
                    try:
                        found[key] = self._locate(*followed)
                    except Exception as error:  # noqa: BLE001  # as of a database that others hold: tried again
                        logger.debug(
                            "The outputs of %s can't be looked for: %r", followed[1].task_name, error
                        )
                with contextlib.suppress(OSError):  # the folder may just have been removed
                    self._tell(found)
            time.sleep(_LOOK_S)

    def _tell(self, found: dict[str, tuple[str, str]]) -> None:
        if found != self._found:
            _private.replace(self._newest, json.dumps(found))
            self._found = found

    def _locate(self, parameter: str, output: OutputRef, settings: Settings) -> tuple[str, str]:
        # Versions are those of deployed tasks, which a local run is none of.
        versioned = output.task_version is not None or output.latest_version
        local = None if versioned else local_runs().find(output.run_name, output.task_name)
        recorded = None if output.run_name and local else _recorded(output, settings)
        if local is not None and (recorded is None or recorded.created_at < local.started_at):
            return local.name, self._keep(local)
        if recorded is None:
            raise _not_found(parameter, output, settings)
        if recorded.phase is not ActionPhase.SUCCEEDED:
            raise ParameterMaterializationError(
                f"Parameter {parameter!r}: run {recorded.name!r} has no outputs, it is {recorded.phase}. "
                "Wait for it, or name a run that succeeded."
            )
        return recorded.name, settings.storage

    def _keep(self, run: LocalRun) -> str:
        storage = open_storage(str(self._folder))
        if run.name not in self._written:
            write_value(storage, output_key(run.name), tuple(run.outputs()))
            self._written.append(run.name)
            for old in [name for name in self._written[:-_KEPT] if name not in self._pinned]:
                self._written.remove(old)
                shutil.rmtree(self._folder / "runs" / old, ignore_errors=True)
        return storage.url


@contextlib.contextmanager
def _registry(settings: Settings) -> Iterator[Registry | None]:
    """The registry that a local cluster of these settings uses as well; None where there is none yet."""
    if settings.database is None and not Path(settings.database_url.removeprefix("sqlite:///")).exists():
        yield None  # looking for it would make it
        return
    # Deferred: a database is for those whose outputs are not of this process alone.
    from flyteray._control.registry.registry import Registry

    with contextlib.closing(Registry(settings.database_url)) as registry:
        yield registry


def _recorded(output: OutputRef, settings: Settings) -> RunInfo | None:
    """A run that a local cluster has recorded: the one that is named, or the task's newest."""
    with _registry(settings) as registry:
        if registry is None:
            return None
        try:
            name = output.run_name or registry.newest_output(output)
            return registry.runs.get(name) if name else None
        except RunNotFoundError:
            return None


def _not_found(parameter: str, output: OutputRef, settings: Settings) -> ParameterMaterializationError:
    with _registry(settings) as registry:
        tasks = [*declared_tasks(), *local_runs().newest, *(registry.tasks.known() if registry else ())]
        recorded = registry.runs.listall(limit=1000) if registry else ()
        runs = [*local_runs().by_name, *(run.name for run in recorded)]
    if output.run_name is not None:
        return ParameterMaterializationError(
            f"Parameter {parameter!r}: there is no run {output.run_name!r}, neither of the local cluster nor a local "
            f"one of this process (whose handle must be kept).{did_you_mean(output.run_name, runs)}"
        )
    task = output.task_name or ""
    meant = "" if task in tasks else did_you_mean(task, tasks)
    return ParameterMaterializationError(
        f"Parameter {parameter!r}: no runs found for task {task!r} that succeeded, neither on the local "
        f"cluster nor in this process.{meant or ' Run the task first.'}"
    )
