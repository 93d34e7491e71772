"""Children are the task calls that a running task makes: each becomes an action of its own on the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._declare import context
from flyteray._declare.facts import ActionID
from flyteray._declare.options.documentation import Link
from flyteray._declare.tasks.task import Task
from flyteray._plan import failure
from flyteray._plan.actions.links import links_of
from flyteray._plan.actions.names import ActionNames
from flyteray._plan.actions.retry import Retries
from flyteray._plan.actions.reuse import pool_plan
from flyteray._plan.actions.room import EndlessRoom, Room
from flyteray._plan.actions.traces import TraceNote, Traces
from flyteray._plan.bundle import references
from flyteray._plan.cache.call import cached_call, contents
from flyteray._plan.cache.results import Found
from flyteray._plan.info import ActionPhase, ChildDone
from flyteray._plan.spec import NO_IMAGE, CachedCall, ImageSpec, ReuseSpec, Start, TaskPlan, TaskSpec
from flyteray._plan.tasks import task_spec, with_env_vars
from flyteray._plan.values import inputs, pickling
from flyteray._plan.values.outputs import as_value, run_folder
from flyteray._plan.values.pickling import inline, returned, task_key
from flyteray._plan.values.stand_in import taken, taken_async
from flyteray._tasks.batches.sender import Sender
from flyteray._tasks.call import Call
from flyteray._tasks.cancels import cancel
from flyteray._tasks.events import Recorder
from flyteray._tasks.host import host
from flyteray._tasks.places import room_of
from flyteray._tasks.results.replays import Replayed, Replays
from flyteray._tasks.results.reuse import Reuse
from flyteray._tasks.results.uploads import Uploads
from flyteray._tasks.reuse.calls import PooledCall
from flyteray._tasks.submission import (
    NamedEnvironment,
    Submitter,
    told_by_worker,
    translate_error,
    was_lost,
)
from flyteray._tasks.timeouts.patience import Patience, phase_of
from flyteray._traces.spans import carried
from flyteray.io.artifacts import produced
from flyteray.storage import open_storage

T = TypeVar("T")


class Children:
    """The ``context.runtime`` inside a task: submits children, waits for them, tries them again.

    ``sender`` has short ones travel together. ``storage`` has what they leave, and ``data`` is the folder of the files
    that their parent makes.
    """

    def __init__(
        self,
        parent: Call,
        recorder: Recorder,
        submitter: Submitter,
        sender: Sender,
        storage: str,
        data: str,
    ) -> None:
        self._parent = parent
        self._inherited = parent.inherited
        self._recorder = recorder
        self._submitter = submitter
        self._sender = sender
        self._names = ActionNames(parent.action, Uploads(data).named)
        self._room = room_of(parent, self._inherited.limit)
        self._storage = storage
        self._kept: set[str] = set()
        self._succeeded: list[ChildDone] = []

    # Made for the first child, as most actions have none. Two that are made at one time are as good as one.

    @functools.cached_property
    def _replays(self) -> Replays:
        return Replays(self._storage, self._parent)

    @functools.cached_property
    def _reuse(self) -> Reuse:
        return Reuse(self._storage)

    @functools.cached_property
    def _traces(self) -> Traces:
        parent, folder = self._parent, functools.partial(run_folder, self._storage)
        return Traces(
            action=ActionID(parent.action, parent.run, *parent.owner),
            names=self._names,
            kept=functools.partial(folder, parent.run),
            earlier=[functools.partial(folder, run) for run in self._replays.runs],
            note=self._note,
        )

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child and block for its value."""
        child = self._child(task, *taken(args, kwargs))
        if self._replays.some and (replayed := self._replays.find(child.call.action)):
            return child.replay(replayed)
        if (found := self._reuse.find(child.call)) is not None:
            return child.reuse(self._reuse, found)
        if not child.call.is_serial:
            return self._call_child(child)
        with child.staying(), self._reuse.alone(child.call) as found:
            return self._call_child(child) if found is None else child.reuse(self._reuse, found)

    def _call_child(self, child: _Child) -> Any:
        start = child.ready_start()
        if start is None:
            with child.waiting_for_image():
                start = child.remember_start(ask(controller().images.prepare(child.image)))
        while True:
            try:
                return self._done(child, child.run(start))
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the child decides
                if child.was_lost(error) and (left := self._replays.left(child.call.action)):
                    return child.replay(left)
                began = ask(child.began()) if child.has_to_ask(error) else None
                time.sleep(child.delay_after(error, began))

    async def acall(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child and await its value; cancelling the await cancels the child."""
        return await self._run(self._child(task, *await taken_async(args, kwargs)))

    async def acall_deployed(
        self, plan: TaskPlan, inputs: Mapping[str, Any], links: Iterable[Link] = ()
    ) -> Any:
        """Run a deployed task as a child and await its value; its inputs' types are checked where it runs."""
        planned = _Planned.of(with_env_vars(plan.spec, dict(self._inherited.env_vars)))
        _, inputs = await taken_async((), inputs)
        call = _linked(self._call(planned, inputs)._replace(unchecked=True), links)
        return await self._run(self._child_of(planned, call, pickling.dump(dict(inputs), "inputs")))

    def trace(self, name: str, inputs: Mapping[str, object]) -> context.Trace:
        """Begin a call of a traced function."""
        return self._traces.begin(name, inputs)

    def _note(self, note: TraceNote) -> None:
        traced = self._parent._replace(
            action=note.action, parent=note.parent, task=note.name, attempt=0, group=context.group_name()
        )
        self._recorder.add(traced, note.phase, note.began, note.error)

    async def _run(self, child: _Child) -> Any:
        if self._replays.some:
            replayed = await asyncio.to_thread(self._replays.find, child.call.action)
            if replayed is not None:
                return child.replay(replayed)
        if (found := await self._reuse.find_async(child.call)) is not None:
            return child.reuse(self._reuse, found)
        if not child.call.is_serial:
            return await self._acall_child(child)
        async with child.staying_async(), self._reuse.alone_async(child.call) as found:
            return await self._acall_child(child) if found is None else child.reuse(self._reuse, found)

    async def _acall_child(self, child: _Child) -> Any:
        start = child.ready_start()
        if start is None:
            with child.waiting_for_image():
                start = child.remember_start(await controller().images.prepare(child.image))
        while True:
            try:
                return self._done(child, await child.run_async(start))
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the child decides
                if child.was_lost(error):
                    left = await asyncio.to_thread(self._replays.left, child.call.action)
                    if left is not None:
                        return child.replay(left)
                began = await child.began() if child.has_to_ask(error) else None
                await asyncio.sleep(child.delay_after(error, began))

    def _done(self, child: _Child, value: T) -> T:
        call = child.call
        self._succeeded.append(ChildDone(call.action, call.task, call.group, call.called, time.time()))
        return value

    def confirm(self) -> None:
        """Have it seen to that all children that have succeeded are recorded: a worker that dies may not have told."""
        self._recorder.confirm(self._parent, self._succeeded)

    def deliver(self) -> None:
        """Wait until the controller knows of all of them: with what their parent ends, nobody asks for them again."""
        if self._names.some:
            self._recorder.deliver(self._parent)

    def _child(self, task: Task[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Child:
        bound = inputs.bind(task, args, kwargs)
        arguments = pickling.dump(bound, "inputs")
        parent = self._parent
        planned = _plan(task, parent.bundle, parent.version, self._inherited.env_vars)
        spec = planned.spec
        named, cached = contents(task, bound, spec.cache, parent.caching), None
        if spec.cache is not None and named is not None:
            cached = cached_call(task, named, spec.cache, parent.caching, parent.owner)
        # Names in place of values: large ones are looked through once.
        call = self._call(planned, {**bound, **(named or {})}, cached)
        return self._child_of(planned, _linked(call, task.links), arguments)

    def _child_of(self, planned: _Planned, call: Call, arguments: pickling.Payload) -> _Child:
        recorder, submitter, sender = self._recorder, self._submitter, self._sender
        return _Child(
            planned.spec, planned.environment, call, arguments, recorder, submitter, sender, self._room
        )

    def _keep(self, spec: TaskSpec) -> None:
        """Record the task of children once, any of which can be run again as a run."""
        if spec.name not in self._kept:
            key = task_key(self._parent.run, spec.name)
            open_storage(self._storage).put(key, spec.model_dump_json().encode())
            self._kept.add(spec.name)

    def _call(self, planned: _Planned, inputs: Mapping[str, Any], cached: CachedCall | None = None) -> Call:
        parent, group = self._parent, context.group_name()
        self._keep(planned.spec)
        inherited, told = self._inherited, tuple(sorted(context.custom.get().items()))
        if inherited.custom_context != told or inherited.resumed != self._replays.resumed:
            inherited = inherited._replace(custom_context=told, resumed=self._replays.resumed)
        return planned.call._replace(
            action=self._names.next(planned.call.task, inputs, group),
            run=parent.run,
            parent=parent.action,
            owner=parent.owner,
            from_above=inherited.fields,
            group=group,
            cached=tuple(cached or ()),
            called=time.time(),
            produces=produced(),
            trace=carried(),
        )


def _linked(call: Call, links: Iterable[Link]) -> Call:
    """A call whose action has the addresses of links."""
    if not links:
        return call
    action = ActionID(call.action, call.run, *call.owner)
    found = links_of(call.task, links, action, call.parent, context.custom.get())
    return call._replace(links=tuple(found.items()))


@dataclass(eq=False, repr=False)
class _Child:
    """One child action over its attempts."""

    spec: TaskSpec
    environment: NamedEnvironment
    call: Call
    arguments: pickling.Payload
    recorder: Recorder
    submitter: Submitter
    sender: Sender
    room: Room

    def __post_init__(self) -> None:
        self._retries = Retries(self.spec.retry)
        self._patience = Patience(self.spec)

    @property
    def image(self) -> ImageSpec | None:
        return self.spec.environment.image

    def replay(self, replayed: Replayed) -> Any:
        """Record that it is done, and give the value that it returned."""
        self.recorder.add(self.call, replayed.phase, inputs=inline(self.arguments))
        return as_value(replayed.outputs)

    def reuse(self, kept: Reuse, found: Found) -> Any:
        """Record that it need not run, and give the value that an equal call has returned."""
        self.recorder.add(
            self.call, ActionPhase.SUCCEEDED, cached=found.entry.run, inputs=inline(self.arguments)
        )
        kept.take(self.call, found)
        if (span := self.call.span()) is not None:
            span.tell({"flyteray.cached_from": found.entry.run})
            span.end()
        return as_value(found.outputs)

    def ready_start(self) -> Start | None:
        """The start of its image; None where this process has not asked for it yet."""
        return NO_IMAGE if self.image is None else _starts().get(self.image.key)

    @contextlib.contextmanager
    def waiting_for_image(self) -> Iterator[None]:
        """Record meanwhile that it waits, and that it has failed where there is no image in the end."""
        self.recorder.begin_wait(self.call, self.environment.spec)
        try:
            yield
        except BaseException as error:
            self.recorder.add(self.call, ActionPhase.FAILED, error=failure.describe(error).summary)
            raise
        finally:
            self.recorder.end_wait(self.call)

    def remember_start(self, start: Start) -> Start:
        """Keep what starts its image: Ray may give this process a thousand such children."""
        assert self.image is not None
        return _starts().setdefault(self.image.key, start)

    @contextlib.contextmanager
    def staying(self) -> Iterator[None]:
        """Hold one place for all attempts: who is to be alone must not wait for places of those who wait for that."""
        with self.room.place(self.call.action):
            self.room = EndlessRoom()
            yield

    @contextlib.asynccontextmanager
    async def staying_async(self) -> AsyncIterator[None]:
        """As :meth:`staying`."""
        async with self.room.aplace(self.call.action):
            self.room = EndlessRoom()
            yield

    def run(self, start: Start) -> Any:
        """Start an attempt and block for its value."""
        with self.room.place(self.call.action):
            if self.spec.reuse is not None:
                with self._in_pool(self.spec.reuse, start) as pooled:
                    return pooled.get(host().waits)
            with self._awaited(self._attempt()) as call:
                ref = self.submitter.submit(self.environment, call, self.arguments, start)
                with self._patience.waiting(call, functools.partial(cancel, ref)):
                    return returned(host().waits.get(ref))

    async def run_async(self, start: Start) -> Any:
        """Start an attempt and await its value."""
        async with self.room.aplace(self.call.action):
            if self.spec.reuse is not None:
                with self._in_pool(self.spec.reuse, start) as pooled:
                    return await pooled.get_async(host().waits)
            with self._awaited(self._attempt()) as call:
                if self.sender.takes(call, self.arguments):
                    told = await self._run_with_others(call, start)
                    if told is not None:
                        return pickling.load(told)
                ref = self.submitter.submit(self.environment, call, self.arguments, start)
                with self._patience.waiting(call, functools.partial(cancel, ref)):
                    return returned(await host().waits.get_async(ref))

    async def _run_with_others(self, call: Call, start: Start) -> pickling.Payload | None:
        """Send an attempt together with others: its pickled value, or None where it is to be sent alone."""
        item = self.sender.add(self.environment, call, self.arguments, start)
        cancel = functools.partial(self.sender.cancel, item)
        with self._patience.waiting(call, cancel):
            try:
                return await host().waits.until(item.future)
            except asyncio.CancelledError:
                cancel()
                raise

    @contextlib.contextmanager
    def _in_pool(self, reuse: ReuseSpec, start: Start) -> Iterator[PooledCall]:
        """The attempt as one of a warm process, which is awaited in here and may have begun before."""
        call = self._attempt()
        gets = self.submitter.placed(self.environment, call.task)
        pooled = PooledCall(pool_plan(self.spec, reuse, call.run, gets, start), call, self.arguments)
        try:
            pooled.begin()
            with self._awaited(call), self._patience.waiting(call, pooled.cancel):
                yield pooled
        except (asyncio.CancelledError, KeyboardInterrupt):
            pooled.leave()
            raise

    def _attempt(self) -> Call:
        """The call of the attempt that is next."""
        attempt, limits = self._retries.attempt, self._patience.limits
        return self.call._replace(attempt=attempt, limits=limits) if attempt or limits else self.call

    @contextlib.contextmanager
    def _awaited(self, call: Call) -> Iterator[Call]:
        """The attempt is awaited in here: recorded as queued until it begins, or as aborted."""
        self.recorder.begin_wait(call, self.environment.spec)
        try:
            yield call
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.recorder.add(call, ActionPhase.ABORTED, error="Its caller no longer waits for it.")
            raise
        finally:
            self.recorder.end_wait(call)

    def was_lost(self, error: BaseException) -> bool:
        """Whether the attempt ended with its worker or node."""
        return was_lost(translate_error(error, self.spec.name))

    def has_to_ask(self, error: BaseException) -> bool:
        """Whether :meth:`delay_after` needs to know when the attempt :meth:`began`."""
        return self._patience.has_to_ask(translate_error(error, self.spec.name))

    def began(self) -> Awaitable[float | None]:
        """The question when the attempt began."""
        return controller().runs.began(self.call.run, self.call.action, self._retries.attempt)

    def delay_after(self, error: BaseException, began: float | None) -> float:
        """Seconds until the next attempt; raises the error as the caller shall see it when there is none."""
        told = translate_error(error, self.spec.name)
        attempt = self._retries.attempt
        shown = self._patience.explained(told, attempt, began)
        call, failed = self.call._replace(attempt=attempt), told_by_worker(error)
        if shown is told and failed is not None:
            # Its worker may die before it has told.
            self.recorder.add(call, failed.phase, error=failed.info.summary)
        else:
            # Its worker could not tell: it died, does not know why it was cancelled, or Ray refused the action.
            described = failure.describe(shown)
            self.recorder.add(call, phase_of(shown, told), error=described.summary)
            if (span := call.span()) is not None:
                span.fail(described.summary, described)
                span.end()
        delay = self._retries.after(shown)
        if delay is None:
            raise shown
        return self._patience.checked_pause(delay, shown)


@functools.cache
def _starts() -> dict[str, Start]:
    return {}


class _Planned(NamedTuple):
    """A task as its calls have it, and a call of it by nobody: worked out once, not once per call."""

    spec: TaskSpec
    environment: NamedEnvironment
    call: Call

    @classmethod
    def of(cls, spec: TaskSpec) -> _Planned:
        """A task from its spec."""
        return cls(spec, NamedEnvironment.of(spec.environment), Call.of(spec))


@functools.lru_cache(maxsize=1024)
def _plan(
    task: Task[..., Any], bundle: str, version: str | None, env_vars: tuple[tuple[str, str], ...]
) -> _Planned:
    return _Planned.of(
        with_env_vars(task_spec(task, references.beside(task, bundle), version), dict(env_vars))
    )
