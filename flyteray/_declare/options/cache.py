"""A cache says which results of a task are reused."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol, TypeAlias, get_args, runtime_checkable

from flyteray._declare.images.image import Image

CacheBehavior: TypeAlias = Literal["auto", "override", "disable"]
"""Reuse results; compute them anew and keep them; neither."""

_WORDS: dict[str, CacheBehavior] = {
    **dict.fromkeys(("enable", "enabled", "on", "true", "yes"), "auto"),
    **dict.fromkeys(("off", "false", "no", "none"), "disable"),
}


@dataclass(frozen=True)
class VersionParameters:
    """A task as a :class:`CachePolicy` sees it: its function, and the image and code that it runs with."""

    func: Callable[..., Any] | None
    image: str | Image | None = None
    code_bundle: Any = None


@runtime_checkable
class CachePolicy(Protocol):
    """Names the state of a task's code: results are reused while the name stays the same."""

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The name. ``salt`` is :attr:`Cache.salt`, to be part of it."""


class FunctionBodyPolicy:
    """The policy where none is given: a hash of the function's source, comments and layout left out."""

    def get_version(self, salt: str, params: VersionParameters) -> str:
        """The hash; empty without a function."""
        if params.func is None:
            return ""
        tree = ast.parse(textwrap.dedent(inspect.getsource(params.func)))
        return hashlib.sha256(f"{ast.dump(tree)}{salt}".encode()).hexdigest()


@dataclass(frozen=True)
class Cache:
    """The choice of results of a task that are reused.

    Results are computed anew for now, whatever it says: a warning tells so where it is used.

    Args:
        behavior: ``"auto"``, ``"override"`` or ``"disable"``; words such as ``"on"`` and ``"off"`` are understood.
        version_override: Names the state of the code in place of the policies.
        serialize: Of equal calls at one time one computes, and the others wait for its result.
        ignored_inputs: Names of inputs that make no difference.
        salt: Part of the name that each policy gives.
        policies: Name the state of the code. Default: a hash of the function's source.
        max_age: How old a result may be, in seconds or as a timedelta; 0: as old as it gets.

    Raises:
        TypeError: ``max_age`` is something else.
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


CacheRequest: TypeAlias = CacheBehavior | Cache
"""Values of ``cache=``."""


def cache_of(request: CacheRequest) -> Cache:
    """The :class:`Cache` that ``cache=`` means; ValueError for a word that means none."""
    return request if isinstance(request, Cache) else Cache(request)
