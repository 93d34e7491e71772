"""A cached call is a call of a task whose result may be there already: its key names task, types, inputs and code."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flyteray._declare.options.cache import Cache, VersionParameters
from flyteray._declare.tasks import hints
from flyteray._declare.tasks.task import Task
from flyteray._plan.spec import CachedCall, CacheSpec, Caching
from flyteray._plan.values.carried import Carried
from flyteray._plan.values.digest import digest
from flyteray._plan.values.type_hints import type_name
from flyteray.errors import BaseRuntimeError
from flyteray.io import Dir, File, HashFunction
from flyteray.io.location import Location
from flyteray.storage.address import directory_hash, file_hash

logger = logging.getLogger(__name__)


def cache_spec(task: Task[..., Any]) -> CacheSpec | None:
    """What is asked of results of a task, with the state of its code named; None where nothing is kept.

    ValueError where a policy can't name it.
    """
    asked = task.cache
    if not asked.is_enabled():
        return None
    version = asked.get_version(VersionParameters(func=task.func, image=task.image))
    if asked.version_override is None and (around := _around(task)):
        version = digest((version, around))
    return _spec(asked, version)


def overridden_cache(spec: CacheSpec | None, cache: Cache) -> CacheSpec | None:
    """What is asked of results of a deployed task whose cache is overridden; the state of its code is as it was named.

    ValueError where it was deployed without a cache, so that nothing names that.
    """
    if not cache.is_enabled():
        return None
    version = cache.version_override or (spec.version if spec else None)
    if version is None:
        raise ValueError(
            "This task was deployed without a cache, and its code is not here: say Cache(..., version_override=...)."
        )
    return _spec(cache, version)


def contents(
    task: Task[..., Any], arguments: Mapping[str, Any], spec: CacheSpec | None, caching: Caching
) -> dict[str, str] | None:
    """A name for the content of each input that makes a difference, those with their default included.

    ``arguments`` are bound to the task's inputs. None where the result is neither looked for nor kept.

    TypeError where nothing tells what the content of an input is.
    """
    if spec is None or caching.disabled:
        return None
    try:
        return {
            name: _content_of_input(task, name, arguments.get(name, declared.default))
            for name, declared in task.interface.inputs.items()
            if name not in spec.ignored_inputs
        }
    except _UnknownContent as error:
        logger.warning("Task %r computes its result anew, and it is not kept: %s", task.name, error)
        return None


def cached_call(
    task: Task[..., Any],
    contents: Mapping[str, str],
    spec: CacheSpec,
    caching: Caching,
    owner: tuple[str | None, str | None, str | None],
) -> CachedCall:
    """The cached call of a task whose inputs have those :func:`contents`."""
    interface = task.interface
    types = [(name, type_name(each.type)) for name, each in interface.inputs.items()]
    returned = [(name, type_name(each)) for name, each in interface.outputs.items()]
    project, domain, _ = owner
    return CachedCall(
        task.name,
        digest((task.name, types, returned, spec.version, dict(contents))),
        owner=digest((project, domain))[:12] if project or domain else "",
        own=caching.own_project,
        read=spec.behavior == "auto" and not caching.overwrite,
        serialize=spec.serialize,
        max_age_s=spec.max_age_s,
    )


class _UnknownContent(Exception):
    """Nothing tells what a file holds."""


def _spec(cache: Cache, version: str) -> CacheSpec:
    age = cache.max_age
    assert age is None or isinstance(age, timedelta)
    return CacheSpec(
        behavior="override" if cache.behavior == "override" else "auto",
        version=version,
        ignored_inputs=cache.get_ignored_inputs(),
        serialize=cache.serialize,
        max_age_s=age.total_seconds() if age else None,
    )


def _content_of_input(task: Task[..., Any], name: str, value: Any) -> str:
    try:
        return _content(value, task.interface.extras.get(name, ()))
    except _UnknownContent as error:
        raise _UnknownContent(f"of input {name!r} {error}") from error
    except Exception as error:
        raise TypeError(
            f"Input {name!r} of task {task.name!r} is a {type(value).__name__}, whose content nothing tells "
            f"({error}), so there is no cache for it. Leave it out with Cache(ignored_inputs={name!r}), say what "
            'tells it with Annotated[..., HashFunction.from_fn(...)], or say cache="disable".'
        ) from error


def _content(value: Any, extras: tuple[Any, ...]) -> str:
    for method in extras:
        if isinstance(method, HashFunction):
            return f"told {method.of(value.value() if isinstance(value, Carried) else value)}"
    return digest(value, _content_of_place)


def _content_of_place(place: Location[Any]) -> str:
    if place.hash is not None:
        return f"hash {place.hash}"
    try:
        if isinstance(place, Dir):
            return place.path if place.is_empty else directory_hash(place.path)
        return file_hash(place.path) if isinstance(place, File) else place.path
    except (OSError, ValueError, BaseRuntimeError) as error:
        raise _UnknownContent(f"{place.path} can't be read here ({error})") from error


def _around(task: Task[..., Any]) -> list[str]:
    """What a function has beside its text: what is bound to it, and what it has from the function that made it."""
    func: Any = task.func
    held: list[object] = []
    while func is not (inner := _inside(func)):
        if isinstance(func, functools.partial):
            held += [func.args, func.keywords]
        elif inspect.ismethod(func):
            held.append(func.__self__)
        func = inner
    for cell in getattr(func, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # of a function that calls itself: not there yet
            held.append(cell.cell_contents)
    return [_named(each) for each in held]


def _inside(func: Any) -> Any:
    if isinstance(func, functools.partial):
        return func.func
    return func.__func__ if inspect.ismethod(func) else hints.written(func)


def _named(value: object) -> str:
    try:
        return digest(value)
    except Exception:  # noqa: BLE001  # clients, locks: nothing tells their content
        return type(value).__name__
