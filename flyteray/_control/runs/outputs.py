"""The outputs of runs that apps take are pinned when an app is served, or followed while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence

from flyteray._actors.controller import Outputs as OutputsDoor
from flyteray._control.registry.registry import Registry
from flyteray._declare.near import did_you_mean
from flyteray._plan.info import ActionPhase, ReplicaInfo
from flyteray._plan.spec import AppSpec, OutputRef, ParameterSpec
from flyteray._plan.values.outputs import output_key
from flyteray.errors import ParameterMaterializationError, RunNotFoundError, RuntimeSystemError
from flyteray.storage import Storage, locate_file, open_storage
from flyteray.storage.address import directory_hash, file_hash

_REMEMBERED = 256  # hashes of contents
_LOOKED_AT = 50  # of the newest runs of a task that is followed


class Outputs(OutputsDoor):
    """The outputs of runs as apps refer to them."""

    def __init__(self, registry: Registry, storage: Storage) -> None:
        self._registry = registry
        self._storage = storage
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)  # by task
        self._successes = 0
        self._looked_at: tuple[set[str], set[str], int] | None = None  # by the last call of left_behind
        self._left: list[str] = []  # the runs that it found
        # Where nothing has changed since, nothing is read again.
        self._hash = functools.lru_cache(_REMEMBERED)(lambda url, ignore, _state: _hash_of(url, ignore))

    async def pin(self, spec: AppSpec, declared: Sequence[str] = ()) -> AppSpec:
        """An app version with the hashes of its contents, and each output that it does not follow as that of one run.

        ``declared`` are tasks that need not have run: a mistyped name may mean one of them. Where there is no such
        output, a ParameterMaterializationError names the parameter.
        """
        pinned = [await self._pinned(parameter, declared) for parameter in spec.parameters]
        return spec.model_copy(update={"parameters": tuple(pinned)})

    async def locate(self, ref: OutputRef) -> str:
        return self.located(ref)

    def located(self, ref: OutputRef, declared: Sequence[str] = ()) -> str:
        """The run of :meth:`locate`; ``declared`` is as for :meth:`pin`."""
        if ref.run_name is None:
            newest = self._registry.newest_output(ref)
            if newest is None:
                raise self._no_success(ref, declared)
            return newest
        info = self._registry.runs.get(ref.run_name)
        if info.phase is not ActionPhase.SUCCEEDED:
            raise ParameterMaterializationError(
                f"Run {info.name!r} has no outputs, it is {info.phase}. Wait for it, or name a run that succeeded."
            )
        return info.name

    async def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        woken = asyncio.Event()
        tasks = {ref.task_name or "" for ref in refs}
        for task in tasks:
            self._waiting[task].add(woken)
        try:
            while True:
                woken.clear()
                newest = map(self._registry.newest_output, refs)
                found = [each or known for each, known in zip(newest, seen, strict=True)]
                if found != list(seen) or loop.time() >= deadline:
                    return found
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(woken.wait(), deadline - loop.time())
        finally:
            for task in tasks:
                self._waiting[task].discard(woken)
                if not self._waiting[task]:
                    del self._waiting[task]

    def succeeded(self, run: str) -> None:
        """Wake those who wait for a newer output of the task of this run."""
        self._successes += 1
        if self._waiting:
            for woken in self._waiting.get(self._registry.runs.get(run).task, ()):
                woken.set()

    def left_behind(self, specs: Iterable[AppSpec], replicas: Iterable[ReplicaInfo]) -> list[str]:
        """The older runs of followed tasks whose output none of these versions and ready replicas takes, each once."""
        refs = [each.output for spec in specs for each in spec.parameters if each.output is not None]
        served = {run for replica in replicas for run in replica.outputs.values()}
        taken = served | {ref.run_name for ref in refs if ref.run_name is not None}
        followed = {ref.task_name for ref in refs if ref.follow and ref.task_name is not None}
        if (taken, followed, self._successes) == self._looked_at:
            return []
        self._looked_at = taken, followed, self._successes
        older = (
            self._registry.runs.listall(task=task, phase=ActionPhase.SUCCEEDED, limit=_LOOKED_AT)[1:]
            for task in sorted(followed)
        )
        known = self._left
        self._left = [run.name for runs in older for run in runs if run.name not in taken]
        return [run for run in self._left if run not in known]

    def _no_success(self, ref: OutputRef, declared: Sequence[str]) -> ParameterMaterializationError:
        task = ref.task_name or ""
        version = f" of version {ref.task_version!r}" if ref.task_version else ""
        problem = f"No runs found for task {task!r}{version} that succeeded."
        newest = self._registry.runs.listall(task=task, limit=1)
        if not newest:
            known = [*self._registry.tasks.known(), *declared]
            meant = "" if task in known else did_you_mean(task, known)
            return ParameterMaterializationError(f"{problem}{meant or ' Run the task first.'}")
        if version or ref.latest_version:
            other = self._registry.runs.newest_success(task)
            if other is not None:
                have = self._registry.runs.spec(other).task.version
                told = f"of version {have!r}" if have else "of no deployed version"
                return ParameterMaterializationError(
                    f"{problem} The newest that did, {other!r}, is {told}. Run that version first, or leave the "
                    "version out."
                )
        run = newest[0]
        why = f": {run.error.code}: {run.error.message}" if run.error else ""
        rest = why if run.phase.is_terminal else ": wait for it."
        return ParameterMaterializationError(f"{problem} The newest, {run.name!r}, is {run.phase}{rest}")

    async def _pinned(self, parameter: ParameterSpec, declared: Sequence[str]) -> ParameterSpec:
        if parameter.output is not None:
            try:
                run = self.located(parameter.output, declared)
            except (ParameterMaterializationError, RunNotFoundError) as error:
                raise ParameterMaterializationError(f"Parameter {parameter.name!r}: {error}") from None
            if parameter.output.follow:
                return parameter
            output = parameter.output.model_copy(update={"run_name": run})
            stored = self._storage.join(output_key(run))
            return parameter.model_copy(update={"output": output, "hash": await self._content(stored, None)})
        read = parameter.download or parameter.mount is not None
        if parameter.kind in ("file", "directory") and parameter.value is not None and read:
            ignore = parameter.ignore_patterns if parameter.kind == "directory" else None
            return parameter.model_copy(update={"hash": await self._content(parameter.value, ignore)})
        return parameter

    async def _content(self, url: str, ignore: tuple[str, ...] | None) -> str | None:
        """The hash of a file, or with ``ignore`` of a directory; None where it can't be told from here."""

        def work() -> str:
            state: object
            if ignore is None:
                storage, key = locate_file(url)
                state = storage.state(key)
            else:
                state = tuple(open_storage(url).states().items())
            return self._hash(url, ignore, state)

        try:
            return await asyncio.to_thread(work)
        except (OSError, ValueError, RuntimeSystemError):
            return None  # it may be where the replicas are, and they tell what is wrong with it


def _hash_of(url: str, ignore: tuple[str, ...] | None) -> str:
    return file_hash(url) if ignore is None else directory_hash(url, ignore)
