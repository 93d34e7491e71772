"""A cache says which results of a task are reused."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from types import CodeType
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from flyteray._declare.images.image import Image
from flyteray._declare.near import did_you_mean
from flyteray._declare.tasks import hints

CacheBehavior: TypeAlias = Literal["auto", "override", "disable"]
"""Reuse results; compute them anew and keep them; neither."""

_WORDS: dict[str, CacheBehavior] = {
    **dict.fromkeys(("enable", "enabled", "on", "true", "yes"), "auto"),
    **dict.fromkeys(("off", "false", "no", "none"), "disable"),
}


@dataclass(frozen=True)
class VersionParameters:
    """A task as a :class:`CachePolicy` sees it: its function and image. ``code_bundle`` is None: none is made yet."""

    func: Callable[..., Any] | None
    image: str | Image | None = None
    code_bundle: Any = None


@runtime_checkable
class CachePolicy(Protocol):
    """Names the state of a task's code: results are reused while the name stays the same."""

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The name. ``salt`` is :attr:`Cache.salt`, to be part of it."""


class FunctionBodyPolicy:
    """The policy where none is given: a hash of the function's source, comments and layout left out.

    The decorator that makes it a task is left out as well, so that other options of a task keep its results. Where the
    source can't be found, as of code that was made by ``exec``, or is more than the function, as of a lambda, its
    compiled code is hashed instead, which differs between versions of Python. What it calls is not looked at.
    """

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The hash; empty without a function."""
        if params.func is None:
            return ""
        func = hints.written(params.func)
        if func.__name__ == "<lambda>":
            return _hash(_compiled(func.__code__), salt)
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(func)))
        except (OSError, TypeError, SyntaxError):
            return _hash(_compiled(func.__code__), salt)
        return _hash(ast.dump(_without_task_decorator(tree)), salt)


def _hash(told: str, salt: str) -> str:
    return hashlib.sha256(f"{told}{salt}".encode()).hexdigest()


def _without_task_decorator(tree: ast.Module) -> ast.Module:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.decorator_list = [each for each in node.decorator_list if not _makes_a_task(each)]
    return tree


def _makes_a_task(decorator: ast.expr) -> bool:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Attribute) and named.attr == "task"


def _compiled(code: CodeType) -> str:
    constants = [_constant(each) for each in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return _compiled(value)
    if isinstance(value, frozenset):  # in another order in each process
        return repr(sorted(map(repr, value)))
    return repr(value)


@dataclass(frozen=True)
class Cache:
    """The choice of results of a task that are reused.

    A call finds the result of an earlier one whose task, types and inputs were the same, by their content, and whose
    code had the same name, in this run or another one, on a cluster or in local mode, as long as both have one storage.
    Results that are None are reused as well; failures are not.

    Args:
        behavior: ``"auto"`` reuses results; ``"override"`` computes them anew and keeps them; ``"disable"`` does
            neither. Words such as ``"on"`` and ``"off"`` are understood.
        version_override: Names the state of the code in place of the policies.
        serialize: Of equal calls at one time one computes, and the others wait for its result, whatever process or
            machine they are in. In local mode this holds for the processes of one machine.
        ignored_inputs: Names of inputs that make no difference. A task that has no such input can't be declared with
            it; in the cache of an environment, names that only some of its tasks have are fine.
        salt: Part of the name that each policy gives.
        policies: Name the state of the code. Default: a hash of the function's source.
        max_age: How old a result may be, in seconds or as a timedelta; 0: as old as it gets.

    Raises:
        TypeError: ``max_age``, ``ignored_inputs`` or ``policies`` is something else.
        ValueError: Another word, a negative age, or neither a policy nor ``version_override``.
    """

    behavior: CacheBehavior
    version_override: str | None = None
    serialize: bool = False
    ignored_inputs: tuple[str, ...] | str = ()
    salt: str = ""
    policies: list[CachePolicy] | CachePolicy | None = None
    max_age: timedelta | int | None = None

    def __post_init__(self) -> None:
        age = self.max_age
        if isinstance(age, bool) or not isinstance(age, (int, timedelta, type(None))):
            raise TypeError(f"Cache max_age must be an int of seconds or a timedelta, got {age!r}.")
        if isinstance(age, int):
            age = timedelta(seconds=age)
            object.__setattr__(self, "max_age", age)
        if age is not None and age < timedelta(0):
            raise ValueError(f"Cache max_age must not be negative, got {self.max_age!r}.")
        behaviors = get_args(CacheBehavior)
        word = self.behavior
        if isinstance(word, str) and word not in behaviors:
            word = _WORDS.get(word.lower(), word)
        if not isinstance(word, str) or word not in behaviors:
            raise ValueError(
                f"There is no cache behavior {self.behavior!r}. There are {', '.join(map(repr, behaviors))}, and "
                f"{', '.join(map(repr, _WORDS))} mean one of them."
            )
        object.__setattr__(self, "behavior", word)
        ignored = self.ignored_inputs
        if not isinstance(ignored, Collection) or not all(isinstance(name, str) for name in ignored):
            raise TypeError(f"Cache ignored_inputs must be names of inputs, got {ignored!r}.")
        if not self.is_enabled():
            return
        policies = self.policies
        if policies is None:
            object.__setattr__(self, "policies", [FunctionBodyPolicy()])
        elif isinstance(policies, CachePolicy):
            object.__setattr__(self, "policies", [policies])
        elif not policies and self.version_override is None:
            raise ValueError(
                "A Cache without policies needs version_override, or nothing names the code's state."
            )
        elif not isinstance(policies, Collection) or not all(
            isinstance(each, CachePolicy) for each in policies
        ):
            raise TypeError(
                f"Cache policies must be objects with get_version(salt, params) of CachePolicy, got {policies!r}."
            )

    def is_enabled(self) -> bool:
        """Whether results are kept."""
        return self.behavior != "disable"

    def get_ignored_inputs(self) -> tuple[str, ...]:
        """The inputs that make no difference."""
        ignored = self.ignored_inputs
        return (ignored,) if isinstance(ignored, str) else tuple(ignored)

    def get_version(self, params: VersionParameters | None = None) -> str:
        """The name of the code's state; empty where nothing is kept.

        Raises:
            ValueError: A policy fails, or there is nothing for it to look at.
        """
        if not self.is_enabled():
            return ""
        if self.version_override is not None:
            return self.version_override
        if params is None:
            raise ValueError("Cache.get_version needs the task's function: policies name its state.")
        named = ""
        policies: Any = self.policies  # a list by now
        for policy in policies:
            try:
                named += policy.get_version(self.salt, params)
            except Exception as error:
                raise ValueError(f"Cache policy {policy!r} could not name the state of the code.") from error
        return hashlib.sha256(named.encode()).hexdigest()


def check_ignored(owner: str, cache: Cache, known: Collection[str]) -> None:
    """Raise ValueError where a cache ignores inputs that are not there; ``known`` are those that are."""
    for name in cache.get_ignored_inputs():
        if name not in known:
            raise ValueError(
                f"{owner}: Cache ignored_inputs names {name!r}, and its inputs are {', '.join(known) or 'none'}."
                f"{did_you_mean(name, known)}"
            )


CacheRequest: TypeAlias = CacheBehavior | Cache
"""Values of ``cache=``."""


def cache_of(request: CacheRequest) -> Cache:
    """The :class:`Cache` that ``cache=`` means; ValueError for a word that means none."""
    return request if isinstance(request, Cache) else Cache(request)
