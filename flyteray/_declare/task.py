"""Tasks: Python functions that run to completion on the cluster."""

from __future__ import annotations

import asyncio
import inspect
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar, cast

from flyteray._declare.context import runtime
from flyteray._declare.environment import check_env_vars
from flyteray._declare.interface import Interface, check_signature, describe
from flyteray._declare.near import did_you_mean
from flyteray._declare.resources import Resources
from flyteray._declare.retry import RetryStrategy
from flyteray._declare.secret import Secret, SecretRequest, as_secrets
from flyteray.errors import SyncTaskCallInAsyncContextError

if TYPE_CHECKING:
    from flyteray._declare.task_environment import TaskEnvironment

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="Task[..., Any]")

_FIXED = ("name", "image", "docs", "interface")


class TaskOptions(TypedDict, total=False):
    """What ``@env.task(...)`` takes.

    Keys:
        short_name: A name for people; the function's name by default.
        retries: Attempts after the first one, or a :class:`RetryStrategy`. Default: 0.
        docs: What it does; the function's docstring by default.
        interruptible: May run on nodes that can vanish. Ray knows no such nodes, so this changes nothing.
    """

    short_name: str | None
    retries: int | RetryStrategy | None
    docs: str | None
    interruptible: bool | None


class Overrides(TypedDict, total=False):
    """What ``task.override(...)`` takes; what is not given, or None, stays as it is.

    Keys:
        short_name: A name for people.
        retries: Attempts after the first one; 0 means none.
        resources: Hardware for this call alone.
        env_vars: Environment variables in place of the environment's (not merged with them).
        secrets: Secrets in place of the environment's.
        interruptible: Changes nothing on Ray.
    """

    short_name: str | None
    retries: int | RetryStrategy | None
    resources: Resources | None
    env_vars: dict[str, str] | None
    secrets: SecretRequest | None
    interruptible: bool | None


def checked_overrides(
    changes: Mapping[str, Any], known: Collection[str] = Overrides.__annotations__.keys()
) -> Overrides:
    """What an override changes: secrets as a list, retries as a strategy, nothing that is None.

    Args:
        changes: What was given.
        known: What may be.

    Raises:
        ValueError: ``name``, ``image``, ``docs`` and ``interface`` cannot be overridden.
        TypeError: No such setting, or a value of a wrong type.
    """
    for key in changes:
        if key in _FIXED:
            raise ValueError(f"{key.capitalize()} cannot be overridden.")
        if key not in known:
            raise TypeError(
                f"override() got an unexpected keyword argument {key!r}. Known are: {', '.join(known)}."
                f"{did_you_mean(key, known)}"
            )
    given = {key: value for key, value in changes.items() if value is not None}
    if not isinstance(given.get("resources", Resources()), Resources):
        raise TypeError(f"override(): resources must be a Resources, got {given['resources']!r}.")
    if "env_vars" in given:
        check_env_vars("override()", given["env_vars"])
    if "secrets" in given:
        given["secrets"] = as_secrets("override()", given["secrets"])
    if "retries" in given:
        given["retries"] = RetryStrategy.of(given["retries"])
    return cast("Overrides", given)


class Task(ABC, Generic[P, R]):
    """A function that runs to completion; made by ``@env.task``.

    Called outside a run it is the plain function. Inside a run a call is a child action on the cluster.

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
    """

    def __init__(
        self, func: Callable[P, Any], env: TaskEnvironment | None = None, options: TaskOptions | None = None
    ) -> None:
        check_signature(func)
        given = options or TaskOptions()
        self.func = func
        self.name = f"{env.name}.{func.__name__}" if env else func.__name__
        self.short_name = given.get("short_name") or func.__name__
        self.docs = given.get("docs") or inspect.getdoc(func) or ""
        self.retries = RetryStrategy.of(given.get("retries"))
        self.resources = env.resources if env else None
        self.env_vars = dict(env.env_vars or {}) if env else {}
        self.image = env.image if env else "auto"
        self.secrets = env.secret_list() if env else []
        self.interruptible = given.get("interruptible")
        self._env = env
        self._overridden: tuple[Task[P, R], Overrides] | None = None
        self._interface: Interface | None = None
        with suppress(NameError):  # the type may be defined further down the module: tried again when needed
            self._interface = describe(func)
        self.__module__ = func.__module__
        self.__name__ = func.__name__
        self.__qualname__ = func.__qualname__
        self.__doc__ = func.__doc__
        self.__wrapped__ = func

    @property
    def is_async(self) -> bool:
        """Whether its function is ``async def``."""
        return inspect.iscoroutinefunction(self.func)

    @abstractmethod
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run it: a child action inside a run, the plain function outside."""

    @abstractmethod
    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it and await its output, whether its function is sync or async."""

    @abstractmethod
    def forward(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the plain function, also inside a run."""

    @property
    def interface(self) -> Interface:
        """Inputs and outputs.

        Raises:
            TypeError: The return annotation names something that doesn't exist.
        """
        if self._interface is None:
            try:
                self._interface = describe(self.func)
            except NameError as error:
                raise TypeError(f"What task {self.name!r} returns can't be resolved: {error}.") from error
        return self._interface

    def secret_list(self) -> list[Secret]:
        """The secrets that it asks for."""
        return self.secrets

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
            changes: See :class:`Overrides`.

        Raises:
            ValueError: ``name``, ``image``, ``docs`` and ``interface`` cannot be overridden.
            TypeError: No such setting, or a value of a wrong type.
        """
        given = checked_overrides(changes)
        copy = type(self).__new__(type(self))
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
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        """A coroutine to be awaited: a child action inside a run, the plain function outside."""
        bound = runtime.get()
        return self.forward(*args, **kwargs) if bound is None else bound.acall(self, args, kwargs)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same as awaiting a call."""
        return await self(*args, **kwargs)

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> Coroutine[object, object, R]:
        """The coroutine of the plain function, also inside a run."""
        coroutine: Coroutine[object, object, R] = self.func(*args, **kwargs)
        return coroutine


class SyncTask(Task[P, R]):
    """A task whose function is a plain ``def``."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
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

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await the output of a child action; outside a run the plain function is called, in this thread."""
        bound = runtime.get()
        if bound is None:
            return self.forward(*args, **kwargs)
        output: R = await bound.acall(self, args, kwargs)
        return output

    def forward(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the plain function, also inside a run."""
        output: R = self.func(*args, **kwargs)
        return output


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _override(task: T, changes: Overrides) -> T:
    return task.override(**changes)
