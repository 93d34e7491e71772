"""A mapped task is called with some arguments that stay, and with others that iterables give."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from flyteray._client.runs.remote_task import RemoteTask, TaskDetails
from flyteray._declare import context
from flyteray._declare.tasks.task import SyncTask, Task
from flyteray._plan.values.inputs import bind_deployed
from flyteray.errors import RemoteTaskUsageError


@dataclass(frozen=True)
class Mapped:
    """A task, the arguments that are the same in each call, and the inputs that are open, in order."""

    task: Task[..., Any] | TaskDetails
    fixed: tuple[Any, ...]
    named: dict[str, Any]
    open: tuple[str, ...]

    @classmethod
    def of(cls, func: Any, task: Task[..., Any] | TaskDetails, iterables: int) -> Mapped:
        """The task of ``func``, which is it or a partial of it; so many iterables give its open inputs.

        TypeError: a call would get too many inputs or too few.
        """
        is_partial = isinstance(func, functools.partial)
        fixed, named = (func.args, func.keywords) if is_partial else ((), {})
        if isinstance(task, TaskDetails):
            required = {each.name: each.default is None for each in task.info.plan.inputs}
        else:
            required = {name: declared.required for name, declared in task.interface.inputs.items()}
        left = _open(task.name, list(required), fixed, named)
        if is_partial and len(left) != 1:
            raise TypeError(
                f"map: a partial of {task.name!r} must leave exactly one input open; this one leaves {len(left)}"
                f"{': ' + ', '.join(left) if left else ''}."
            )
        if iterables > len(left):
            raise TypeError(
                f"map: {task.name!r} has {len(left)} inputs ({', '.join(left) or 'none'}), got {iterables} iterables."
            )
        if iterables and (missing := [each for each in left[iterables:] if required[each]]):
            raise TypeError(f"map: no iterable gives inputs of {task.name!r}: {', '.join(missing)}.")
        return cls(task, fixed, named, left)

    async def call(self, given: tuple[Any, ...]) -> Any:
        """Await one call with the values of the iterables: a child action inside a run."""
        args, kwargs = self._arguments(given)
        if isinstance(self.task, Task):
            return await self.task.aio(*args, **kwargs)
        runtime = context.runtime.get()
        assert runtime is not None
        plan = self.task.info.plan
        return await runtime.acall_deployed(plan, bind_deployed(plan, args, kwargs), self.task.links)

    def call_here(self, given: tuple[Any, ...]) -> Any:
        """Make one call of a sync task on this thread."""
        args, kwargs = self._arguments(given)
        assert isinstance(self.task, SyncTask)
        return self.task(*args, **kwargs)

    @property
    def is_one_by_one(self) -> bool:
        """Whether it is called once at a time: a sync task in this process, outside a run or in local mode."""
        here = context.task_context.get()
        is_local = context.runtime.get() is None or (here is not None and here.mode == "local")
        return is_local and isinstance(self.task, SyncTask)

    def _arguments(self, given: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self.named:
            return (*self.fixed, *given), {}
        return self.fixed, {**self.named, **dict(zip(self.open, given, strict=False))}


def mappable(func: Any) -> Task[..., Any] | TaskDetails | RemoteTask:
    """The task of what ``map`` was given; TypeError: none, RemoteTaskUsageError: a deployed one outside a run."""
    task = func.func if isinstance(func, functools.partial) else func
    if not isinstance(task, (Task, RemoteTask, TaskDetails)):
        raise TypeError(
            f"flyteray.map calls tasks, or functools.partial objects of tasks: got {func!r}. Decorate the function "
            "with @env.task."
        )
    if not isinstance(task, Task) and context.runtime.get() is None:
        raise RemoteTaskUsageError(
            f"Deployed task {task.name!r} can be mapped within tasks only. Here, run it: flyteray.run(task, ...)."
        )
    return task


def _open(task: str, names: list[str], fixed: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, ...]:
    """The inputs that a partial leaves open; TypeError where it gives one twice, or one that is none."""
    if len(fixed) > len(names):
        raise TypeError(f"map: the partial of {task!r} gives {len(fixed)} inputs, and it has {len(names)}.")
    for name in named:
        if name not in names:
            raise TypeError(f"map: {task!r} has no input {name!r}. Its inputs: {', '.join(names) or 'none'}.")
        if name in names[: len(fixed)]:
            raise TypeError(
                f"map: the partial of {task!r} gives input {name!r} twice: by position and by name."
            )
    return tuple(name for name in names[len(fixed) :] if name not in named)
