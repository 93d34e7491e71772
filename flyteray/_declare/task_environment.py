"""The environment of tasks, and the decorator that makes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from flyteray._declare.environment import Environment
from flyteray._declare.task import AsyncTask, SyncTask, Task, TaskOptions

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """What ``@env.task(...)`` returns."""

    @overload
    def __call__(  # type: ignore[overload-overlap] # a coroutine function is async before all else
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...


@dataclass(eq=False, repr=False)
class TaskEnvironment(Environment):
    """Where and with what tasks run; ``@env.task`` declares one.

    Takes the fields of :class:`Environment`. A task without ``Resources(cpu=...)`` reserves one CPU.
    """

    _tasks: dict[str, Task[..., Any]] = field(default_factory=dict, init=False)

    def __getstate__(self) -> dict[str, Any]:
        # Its tasks are no part of what it is: pickling one of them must not drag in all others.
        return {**self.__dict__, "_tasks": {}}

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The tasks declared so far by full name, ``<environment>.<function>``."""
        return dict(self._tasks)

    @overload
    def task(  # type: ignore[overload-overlap] # as above
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...

    @overload
    def task(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...

    @overload
    def task(self, /, **options: Unpack[TaskOptions]) -> TaskDecorator: ...

    def task(self, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """Make a function a task of this environment: ``@env.task`` or ``@env.task(retries=3)``.

        Decorating a function of the same name again replaces the task.

        Args:
            func: A function, sync or async, whose arguments all have names.
            options: See :class:`TaskOptions`.

        Raises:
            TypeError: Not a function, an unknown option, or a return type that is a tuple of one element or
                of no fixed length.
            ValueError: Variable or positional-only arguments, or bad retries.
        """
        if unknown := sorted(options.keys() - TaskOptions.__annotations__.keys()):
            known = sorted(TaskOptions.__annotations__)
            raise TypeError(f"Unexpected options of a task: {unknown}. Known are: {known}.")

        def declare(func: Callable[..., Any]) -> Task[..., Any]:
            if not inspect.isfunction(func):
                raise TypeError(f"Only a function can be a task, got {func!r}.")
            kind = AsyncTask if inspect.iscoroutinefunction(func) else SyncTask
            made: Task[..., Any] = kind(func, self, TaskOptions(**options))  # type: ignore[typeddict-item] # checked
            self._tasks[made.name] = made
            return made

        return declare if func is None else declare(func)
