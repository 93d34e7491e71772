"""A task environment's decorator makes tasks of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, Protocol, TypeVar, overload

from flyteray._declare.environment import Environment, without_meaning
from flyteray._declare.options.cache import Cache, CacheRequest
from flyteray._declare.options.reuse import ReusePolicy
from flyteray._declare.options.task import TaskOptions, check_plugin
from flyteray._declare.tasks import hints
from flyteray._declare.tasks.task import AsyncTask, SyncTask, Task
from flyteray._public import refused

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")


class TaskDecorator(Protocol):
    """The decorator that ``@env.task(...)`` makes."""

    @overload
    def __call__(  # type: ignore[overload-overlap] # a coroutine function is async before all else
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...


@dataclass(eq=False, repr=False)
class TaskEnvironment(Environment):
    """Where and with what tasks run; ``@env.task`` declares one.

    Takes the fields of :class:`Environment` as well. A task without ``Resources(cpu=...)`` reserves one CPU.

    Args:
        cache: Which results its tasks reuse: ``"auto"``, ``"disable"`` or a :class:`Cache`; each task may say
            otherwise.
        reusable: How many warm processes are kept for its tasks, for how long and for how many calls at one time each.
        plugin_config: Of a plugin of Flyte; there are none, so that no task can be declared with one.
        queue: Of Flyte's scheduler: means nothing on Ray, and says so.

    Raises:
        TypeError: A field of a wrong type.
        ValueError: A bad name, or ``reusable`` together with a plugin.
    """

    cache: CacheRequest = "disable"
    reusable: ReusePolicy | None = None
    plugin_config: Any = None
    queue: str | None = None
    _tasks: dict[str, Task[..., Any]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache:
            self._expect("cache", str | Cache, "a str or a Cache")
        self._expect("reusable", ReusePolicy | None, "a ReusePolicy")
        if self.reusable is not None and self.plugin_config is not None:
            raise ValueError(f"{self._words()}: plugin_config can't be set when environment is reusable.")
        self._expect("queue", str | None, "a str")
        if self.queue is not None:
            without_meaning(self._words(), "queue")

    def __getstate__(self) -> dict[str, Any]:
        # Its tasks are no part of what it is: pickling one of them must not drag in all others.
        return {**self.__dict__, "_tasks": {}}

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The tasks declared so far by full name, ``<environment>.<function>``."""
        return dict(self._tasks)

    @property
    def sandbox(self) -> NoReturn:
        """None: tasks that call tasks need none.

        Raises:
            NotImplementedError: Always.
        """
        raise refused(
            f"The sandbox of {self._words()}",
            "declare the function with @env.task; a task calls others, in loops and by asyncio.gather or flyteray.map.",
        )

    @classmethod
    def from_task(
        cls, name: str, *tasks: Task[..., Any], depends_on: list[Environment] | None = None
    ) -> TaskEnvironment:
        """An environment of tasks that have none, such as those that :class:`Task` makes of functions directly.

        Args:
            name: Its name; the tasks keep theirs.
            tasks: They have one image.
            depends_on: Environments that are needed by it.

        Raises:
            TypeError: Not a task.
            ValueError: One of them has an environment, or they differ in their images.
        """
        for task in tasks:
            if not isinstance(task, Task):
                raise TypeError(f"TaskEnvironment.from_task takes tasks, got {task!r}.")
            if task.parent_env() is not None:
                raise ValueError(f"Tasks cannot be assigned to multiple environments: {task.name!r} has one.")
        images = [task.image for task in tasks]
        if any(image != images[0] for image in images):
            raise ValueError(f"The tasks of one environment have one image, got {images!r}.")
        env = cls(name, depends_on=depends_on or [], image=images[0] if images else "auto")
        for task in tasks:
            task._env = env
            env._tasks[task.name] = task
        return env

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
            ValueError: Variable or positional-only arguments, a bad value of an option, or one that an environment
                whose processes are reused does not take.
        """
        if unknown := sorted(options.keys() - TaskOptions.__annotations__.keys()):
            names = sorted(TaskOptions.__annotations__)
            raise TypeError(f"Unexpected options of a task: {unknown}. Known are: {names}.")

        def declare(func: Callable[..., Any]) -> Task[..., Any]:
            if isinstance(func, Task) or not inspect.isfunction(hints.written(func)):
                raise TypeError(f"Only a function can be a task, got {func!r}.")
            self._check_declared(func, options)
            kind = AsyncTask if inspect.iscoroutinefunction(func) else SyncTask
            made: Task[..., Any] = kind(func, self, TaskOptions(**options))  # type: ignore[typeddict-item] # checked
            self._tasks[made.name] = made
            return made

        return declare if func is None else declare(func)

    def _check_declared(self, func: Callable[..., Any], options: Mapping[str, Any]) -> None:
        check_plugin(self._words(), self.plugin_config)
        if self.reusable is None:
            return
        if options.get("pod_template") is not None:
            raise ValueError(f"{self._words()}: a task can't set pod_template when environment is reusable.")
        account = options.get("service_account")
        if account is not None and account != self.service_account:
            raise ValueError(
                f"{self._words()}: a task can't override service_account when environment is reusable."
            )
        if self.reusable.concurrency > 1 and not inspect.iscoroutinefunction(func):
            raise ValueError(
                f"{self._words()}: a reusable environment with concurrency greater than 1 is only supported for async "
                f"tasks, and {hints.written(func).__name__!r} is sync."
            )
