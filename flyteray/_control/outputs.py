"""Which outputs of tasks the apps take: pinned when they are served, or followed while they run."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from flyteray._control.registry import Registry
from flyteray._plan import contents
from flyteray._plan.outputs import output_key
from flyteray._plan.spec import ActionPhase, AppSpec, OutputRef, ParameterSpec, ReplicaInfo
from flyteray.errors import ParameterMaterializationError, RemoteTaskNotFoundError, RuntimeSystemError
from flyteray.storage import Storage

_REMEMBERED = 256  # hashes of contents
_LOOKED_AT = 50  # of the newest runs of a task that is followed


class Outputs:
    """The outputs of runs as apps refer to them.

    Args:
        registry: Where runs are remembered.
        storage: Where their outputs are.
    """

    def __init__(self, registry: Registry, storage: Storage) -> None:
        self._registry = registry
        self._storage = storage
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)  # by task
        # Where nothing has changed since, nothing is read again.
        self._hash = functools.lru_cache(_REMEMBERED)(lambda url, ignore, _state: _hash_of(url, ignore))

    async def pin(self, spec: AppSpec) -> AppSpec:
        """The app version with each output as that of one run, unless it is followed, and with what the contents are.

        Raises:
            ParameterMaterializationError: there is no such output; the message names the parameter.
        """
        pinned = [await self._pinned(parameter) for parameter in spec.parameters]
        return spec.model_copy(update={"parameters": tuple(pinned)})

    def locate(self, ref: OutputRef) -> str:
        """The run that has the output: the one that is named, or the newest of the task.

        Raises:
            ParameterMaterializationError: there is none.
            RunNotFoundError: there is no run of that name.
        """
        if ref.run_name is None:
            newest = self._newest(ref)
            if newest is None:
                version = f" of version {ref.task_version!r}" if ref.task_version else ""
                raise ParameterMaterializationError(
                    f"No runs found for task {ref.task_name!r}{version} that succeeded. Run the task first."
                )
            return newest
        info = self._registry.get_run(ref.run_name)
        if info.phase is not ActionPhase.SUCCEEDED:
            raise ParameterMaterializationError(
                f"Run {info.name!r} has no outputs, it is {info.phase}. Wait for it, or name a run that succeeded."
            )
        return info.name

    async def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        """The newest run for each, as soon as one is another than the one ``seen``, or after ``timeout_s`` seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        woken = asyncio.Event()
        tasks = {ref.task_name or "" for ref in refs}
        for task in tasks:
            self._waiting[task].add(woken)
        try:
            while True:
                woken.clear()
                found = [self._newest(ref) or known for ref, known in zip(refs, seen, strict=True)]
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
        """Wake those who wait for a newer output of the task of a run."""
        if self._waiting:
            for woken in self._waiting.get(self._registry.get_run(run).task, ()):
                woken.set()

    def left_behind(self, specs: Iterable[AppSpec], replicas: Iterable[ReplicaInfo]) -> list[str]:
        """The older runs of followed tasks whose output no app and no replica takes any more."""

        def newest_first(task: str) -> list[str]:
            found = self._registry.list_runs(task=task, phase=ActionPhase.SUCCEEDED, limit=_LOOKED_AT)
            return [run.name for run in found]

        return left_behind(specs, replicas, newest_first)

    def _newest(self, ref: OutputRef) -> str | None:
        version = ref.task_version
        if ref.latest_version:
            try:
                version = self._registry.get_task(ref.task_name or "").plan.version
            except RemoteTaskNotFoundError:
                return None
        return self._registry.newest_success(ref.task_name or "", version)

    async def _pinned(self, parameter: ParameterSpec) -> ParameterSpec:
        if parameter.output is not None:
            try:
                run = self.locate(parameter.output)
            except ParameterMaterializationError as error:
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
        """What a file, or with ``ignore`` a directory, holds; None where that can't be told from here."""

        def work() -> str:
            state: object
            if ignore is None:
                storage, key = Storage.locate(url)
                state = storage.state(key)
            else:
                state = tuple(Storage.at(url).states().items())
            return self._hash(url, ignore, state)

        try:
            return await asyncio.to_thread(work)
        except (OSError, ValueError, RuntimeSystemError):
            return None  # it may be where the replicas are, and they tell what is wrong with it


def left_behind(
    specs: Iterable[AppSpec], replicas: Iterable[ReplicaInfo], newest_first: Callable[[str], Sequence[str]]
) -> list[str]:
    """The same, of what is known: ``newest_first`` gives the runs of a task that succeeded."""
    refs = [each.output for spec in specs for each in spec.parameters if each.output is not None]
    taken = {run for replica in replicas for run in replica.outputs.values()}
    taken |= {ref.run_name for ref in refs if ref.run_name is not None}
    followed = sorted({ref.task_name for ref in refs if ref.follow and ref.task_name is not None})
    return [run for task in followed for run in newest_first(task)[1:] if run not in taken]


def _hash_of(url: str, ignore: tuple[str, ...] | None) -> str:
    return contents.file_hash(url) if ignore is None else contents.directory_hash(url, ignore)
