"""Children are the task calls that a running task makes: each becomes an action of its own on the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._declare import context
from flyteray._declare.tasks.task import Task
from flyteray._plan import failure
from flyteray._plan.bundle import code
from flyteray._plan.info import ActionPhase
from flyteray._plan.retry import retry_delay
from flyteray._plan.spec import NO_IMAGE, ImageSpec, Start, TaskPlan, TaskSpec
from flyteray._plan.tasks import task_spec, with_env_vars
from flyteray._plan.values import inputs, pickling
from flyteray._tasks.call import ActionFailed, Call
from flyteray._tasks.events import Recorder
from flyteray._tasks.host import host
from flyteray._tasks.submission import NamedEnvironment, Submitter, translate_error


class Children:
    """The ``context.runtime`` inside a task: submits children, waits for them, tries them again."""

    def __init__(self, parent: Call, recorder: Recorder, submitter: Submitter) -> None:
        self._parent = parent
        self._recorder = recorder
        self._submitter = submitter
        self._numbers = itertools.count(1)

    def call(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child and block for its value."""
        child = self._child(task, args, kwargs)
        start = child.ready_start()
        if start is None:
            with child.waiting_for_image():
                start = child.remember_start(ask(controller().images.prepare(child.image)))
        for attempt in itertools.count():
            try:
                return child.run(attempt, start)
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the child decides
                time.sleep(child.delay_after(error, attempt))
        raise AssertionError

    async def acall(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a child and await its value; cancelling the await cancels the child."""
        return await self._run(self._child(task, args, kwargs))

    async def acall_deployed(self, plan: TaskPlan, inputs: dict[str, Any]) -> Any:
        """Run a deployed task as a child and await its value; its inputs' types are checked where it runs."""
        spec = with_env_vars(plan.spec, dict(self._parent.inherited.env_vars))
        call = self._call(spec)._replace(unchecked=True)
        arguments = pickling.dump(inputs, "inputs")
        environment = NamedEnvironment.of(spec.environment)
        return await self._run(_Child(spec, environment, call, arguments, self._recorder, self._submitter))

    async def _run(self, child: _Child) -> Any:
        start = child.ready_start()
        if start is None:
            with child.waiting_for_image():
                start = child.remember_start(await controller().images.prepare(child.image))
        for attempt in itertools.count():
            try:
                return await child.run_async(attempt, start)
            except Exception as error:  # noqa: BLE001  # Ray's and users' alike: the child decides
                await asyncio.sleep(child.delay_after(error, attempt))
        raise AssertionError

    def _child(self, task: Task[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Child:
        arguments = pickling.dump(inputs.bind(task, args, kwargs), "inputs")
        parent = self._parent
        spec, environment = _plan(task, parent.bundle, parent.version, parent.inherited.env_vars)
        return _Child(spec, environment, self._call(spec), arguments, self._recorder, self._submitter)

    def _call(self, spec: TaskSpec) -> Call:
        parent = self._parent
        custom = tuple(sorted(context.custom.get().items()))
        return Call.of(
            spec,
            run=parent.run,
            action=f"{parent.action}.{next(self._numbers)}",
            parent=parent.action,
            attempt=0,
            owner=parent.owner,
            inherited=parent.inherited._replace(custom_context=custom),
        )


@dataclass(eq=False, repr=False)
class _Child:
    """One child action over its attempts."""

    spec: TaskSpec
    environment: NamedEnvironment
    call: Call
    arguments: pickling.Payload
    recorder: Recorder
    submitter: Submitter

    @property
    def image(self) -> ImageSpec | None:
        return self.spec.environment.image

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

    def run(self, attempt: int, start: Start) -> Any:
        """Start an attempt and block for its value."""
        call = self._begin(attempt)
        try:
            return host().waits.get(self.submitter.submit(self.environment, call, self.arguments, start))
        finally:
            self.recorder.end_wait(call)

    async def run_async(self, attempt: int, start: Start) -> Any:
        """Start an attempt and await its value."""
        call = self._begin(attempt)
        try:
            return await host().waits.get_async(
                self.submitter.submit(self.environment, call, self.arguments, start)
            )
        finally:
            self.recorder.end_wait(call)

    def _begin(self, attempt: int) -> Call:
        call = self.call._replace(attempt=attempt)
        self.recorder.begin_wait(call, self.environment.spec)
        return call

    def delay_after(self, error: BaseException, attempt: int) -> float:
        """Seconds until the next attempt; raises the error as the caller shall see it when there is none."""
        shown = translate_error(error, self.spec.name)
        delay = retry_delay(shown, self.spec.retry, attempt)
        if delay is None:
            if not isinstance(getattr(error, "cause", None), ActionFailed):
                # Its worker could not tell: it died, or Ray refused the action.
                self.recorder.add(
                    self.call._replace(attempt=attempt),
                    ActionPhase.FAILED,
                    error=failure.describe(shown).summary,
                )
            raise shown
        return delay


@functools.cache
def _starts() -> dict[str, Start]:
    return {}


@functools.lru_cache(maxsize=1024)
def _plan(
    task: Task[..., Any], bundle: str, version: str | None, env_vars: tuple[tuple[str, str], ...]
) -> tuple[TaskSpec, NamedEnvironment]:
    spec = with_env_vars(task_spec(task, code.beside(task, bundle), version), dict(env_vars))
    return spec, NamedEnvironment.of(spec.environment)
