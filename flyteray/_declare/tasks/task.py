"""Tasks are Python functions that run to completion on the cluster."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from flyteray._declare.context import runtime
from flyteray._declare.images.image import Image
from flyteray._declare.options.cache import Cache, cache_of, check_ignored
from flyteray._declare.options.documentation import Documentation, Link
from flyteray._declare.options.pod import PodTemplate
from flyteray._declare.options.reuse import ReusePolicy
from flyteray._declare.options.task import TaskOptions, checked_options, checked_overrides
from flyteray._declare.options.timeout import TimeoutType
from flyteray._declare.options.trigger import Trigger
from flyteray._declare.resources import Resources
from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray._declare.tasks import hints
from flyteray._declare.tasks.interface import MISSING, Interface, check_signature, describe
from flyteray._declare.tasks.retry import RetryStrategy
from flyteray._declare.tasks.returns import Returned, returned
from flyteray.errors import SyncTaskCallInAsyncContextError

if TYPE_CHECKING:
    from flyteray._declare.tasks.task_environment import TaskEnvironment

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="Task[..., Any]")

_OF_BOTH = ("pod_template", "service_account", "queue")  # of the task, or else of its environment


class Task(ABC, Generic[P, R]):
    """A function that runs to completion; made by ``@env.task``.

    Called outside a run it is the plain function. Inside a run a call is a child action on the cluster.

    A task runs on its process's main thread, as a script does, and may use plain Ray (tasks, actors, Ray Data). While
    it waits for those or for children, its CPU is free for them. An exception that leaves it is a failure, and so is
    ``sys.exit``; only ``sys.exit()`` or ``sys.exit(0)`` in a task without an output ends it well.

    In threads that it starts, a call is the plain function again, as threads of Python begin with an empty context.
    Those of ``asyncio.to_thread``, and of ``contextvars.copy_context().run``, are of the run.

    Attributes:
        name: The full name, ``<environment>.<function>``.
        short_name: A name for people.
        func: The function itself.
        docs: What it does.
        retries: How often it is tried again.
        resources: Hardware; None for the defaults.
        env_vars: Environment variables of the process that runs it.
        secrets: What it is given in secret.
        image: What it finds installed.

    The other options of ``@env.task`` are attributes of their names as well.
    """

    task_type = "python"
    short_name: str
    cache: Cache
    timeout: TimeoutType
    triggers: tuple[Trigger, ...]
    links: tuple[Link, ...]
    report: bool
    entrypoint: bool
    produces_artifacts: bool
    max_inline_io_bytes: int
    task_resolver: Any

    def __init__(
        self, func: Callable[P, Any], env: TaskEnvironment | None = None, options: TaskOptions | None = None
    ) -> None:
        check_signature(func)
        given: Mapping[str, Any] = options or {}
        inner = hints.written(func)
        named = func if hasattr(func, "__qualname__") else inner  # a partial has no name of its own
        self.func = func
        self.name = f"{env.name}.{named.__name__}" if env else named.__name__
        self.short_name = given.get("short_name") or named.__name__
        self.docs = Documentation(given.get("docs") or inspect.getdoc(named) or "")
        self.retries: RetryStrategy
        self.resources: Resources | None = env.resources if env else None
        self.env_vars: dict[str, str] | None = env.env_vars if env else None
        self.image: Image | str | None = env.image if env else "auto"
        self.secrets: SecretRequest | None = env.secrets if env else None
        self.cache = cache_of(env.cache if env else "disable")
        self.reusable: ReusePolicy | None = env.reusable if env else None
        self.plugin_config = env.plugin_config if env else None
        either = {name: given.get(name) or getattr(env, name, None) or None for name in _OF_BOTH}
        self.pod_template: str | PodTemplate | None = either["pod_template"]
        self.service_account: str | None = either["service_account"]
        self.queue: str | None = either["queue"]
        asked = given.get("interruptible")
        self.interruptible: bool = bool(env and env.interruptible) if asked is None else asked
        self.__dict__.update(checked_options(f"Task {self.name!r}", given))
        self._env = env
        self._overridden: tuple[Task[P, R], Mapping[str, Any]] | None = None
        around = hints.names_around(func, sys._getframe())
        described = describe(func, around)
        # A type may be defined further down the module: looked for again when it is needed.
        self._interface = None if described.problems else described.interface
        if given.get("cache") is not None:
            check_ignored(f"Task {self.name!r}", self.cache, described.interface.inputs)
        self._around = around if described.problems else {}
        self.returned: Returned = "nothing"
        if described.interface.returns is MISSING:
            self.returned = returned(inner)
            if self.returned != "nothing":
                self._warn(
                    f"{named.__name__}() returns a value and has no return annotation, without which its run fails "
                    "in the end: annotate it with its type, or with -> Any."
                )
        self.__module__ = named.__module__
        self.__name__ = named.__name__
        self.__qualname__ = named.__qualname__
        self.__doc__ = named.__doc__
        self.__wrapped__ = func

    @functools.cached_property
    def is_async(self) -> bool:
        """Whether its function is ``async def``."""
        return inspect.iscoroutinefunction(self.func)

    @abstractmethod
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run it: a child action inside a run, the plain function outside."""

    @abstractmethod
    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it and await its output, whether its function is sync or async."""

    @abstractmethod
    def forward(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the plain function, also inside a run."""

    @property
    def interface(self) -> Interface:
        """Inputs and outputs; a type that can't be found is ``Any``, with a warning that names it."""
        if self._interface is None:
            self._interface, problems = describe(self.func, self._around)
            for name, problem in problems.items():
                what = "its return type" if name == "return" else f"the type of input {name!r}"
                self._warn(
                    f"{what} is {problem}. It is taken as Any, so values are not checked or converted. Import the "
                    "name where the module runs, not under TYPE_CHECKING alone."
                )
        return self._interface

    def _warn(self, problem: str) -> None:
        code, names = hints.written(self.func).__code__, hints.written(self.func).__globals__
        seen = names.setdefault("__warningregistry__", {})
        message = f"Task {self.name!r}: {problem}"
        warnings.warn_explicit(
            message, UserWarning, code.co_filename, code.co_firstlineno, names.get("__name__"), seen
        )

    def secret_list(self) -> list[Secret]:
        """The secrets that it asks for."""
        return as_secrets(f"Task {self.name!r}", self.secrets)

    @property
    def native_interface(self) -> Interface:
        """Flyte's name for :attr:`interface`."""
        return self.interface

    @property
    def json_schema(self) -> dict[str, Any]:
        """The inputs as one JSON object, in the words of JSON Schema: a tool's description for an agent.

        What the docs tell of an input is its ``description``.
        """
        schema = self.interface.json_schema
        told = self.docs.of_inputs
        schema["properties"] = {
            name: {**each, "description": told[name]} if name in told else each
            for name, each in schema["properties"].items()
        }
        return schema

    @property
    def source_file(self) -> str:
        """The file that its function is in."""
        return str(hints.written(self.func).__code__.co_filename)

    def parent_env(self) -> TaskEnvironment | None:
        """The environment that it was declared in."""
        return self._env

    @property
    def parent_env_name(self) -> str | None:
        """The name of the environment that it was declared in."""
        return self._env.name if self._env else None

    def override(self: T, **changes: Any) -> T:
        """A copy of this task with other settings; this one stays as it is.

        Args:
            changes: See :class:`~flyteray._declare.options.task.Overrides`.

        Raises:
            ValueError: ``name``, ``image``, ``docs`` and ``interface`` cannot be overridden.
            TypeError: No such setting, or a value of a wrong type.
        """
        return self._changed(checked_overrides(changes, reusable=self.reusable))

    def _changed(self: T, given: Mapping[str, Any]) -> T:
        copy = type(self).__new__(type(self))
        if "cache" in given:
            check_ignored(f"override() of task {self.name!r}", given["cache"], self.interface.inputs)
        copy.__dict__.update(self.__dict__, **given)
        copy._overridden = (self, given)
        return copy

    def declared(self) -> Task[P, R]:
        """The task as it was declared, without what :meth:`override` has changed."""
        return self if self._overridden is None else self._overridden[0].declared()

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A task is what its module calls by its name: copies elsewhere would not be the same task.
        if self._overridden is not None:
            return _override, self._overridden
        if self.__module__ != "__main__" and self._is_global():
            return self.__qualname__
        return super().__reduce_ex__(protocol)

    def _is_global(self) -> bool:
        found: Any = sys.modules.get(self.__module__)
        for part in self.__qualname__.split("."):
            found = getattr(found, part, None)
        return found is self


class AsyncTask(Task[P, R]):
    """A task whose function is ``async def``."""

    # Not Coroutine[Any, Any, R]: with it asyncio.gather() of two tasks would be Any to mypy.
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        """A coroutine to be awaited: a child action inside a run, the plain function outside."""
        bound = runtime.get()
        return self.forward(*args, **kwargs) if bound is None else bound.acall(self, args, kwargs)

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await a call."""
        return await self(*args, **kwargs)

    def forward(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        """The coroutine of the plain function, also inside a run."""
        coroutine: Coroutine[object, object, R] = self.func(*args, **kwargs)
        return coroutine


class SyncTask(Task[P, R]):
    """A task whose function is a plain ``def``."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """The output: of a child action inside a run, for which it blocks, or of the plain function outside.

        Raises:
            SyncTaskCallInAsyncContextError: Inside a run, from a thread whose event loop it would block.
        """
        bound = runtime.get()
        if bound is None:
            return self.forward(*args, **kwargs)
        if _loop_runs_here():
            raise SyncTaskCallInAsyncContextError(
                f"Task {self.name!r} is sync and was called from async code, where it would block the "
                f"event loop. Write: await {self.__name__}.aio(...)"
            )
        output: R = bound.call(self, args, kwargs)
        return output

    async def aio(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await the output of a child action; outside a run the plain function is called, in this thread."""
        bound = runtime.get()
        if bound is None:
            return self.forward(*args, **kwargs)
        output: R = await bound.acall(self, args, kwargs)
        return output

    def forward(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, also inside a run."""
        output: R = self.func(*args, **kwargs)
        return output


TaskTemplate = Task
"""Flyte's name for it."""

AsyncFunctionTaskTemplate = Task
"""Flyte's name for a task that is a function, sync or async: here all of them are."""


def _loop_runs_here() -> bool:
    try:
        import asyncio  # deferred: who only declares tasks does without it

        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _override(task: T, changes: Mapping[str, Any]) -> T:
    return task._changed(changes)
