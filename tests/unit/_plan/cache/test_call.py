from __future__ import annotations

import functools
from typing import Any

import pytest

import flyteray as flyte
from flyteray._declare.facts import Owner
from flyteray._declare.options.cache import VersionParameters
from flyteray._plan.cache.call import cache_spec, cached_call, contents
from flyteray._plan.spec import CachedCall, Caching

env = flyte.TaskEnvironment(name="called")
PINNED = flyte.Cache("auto", version_override="1")


@env.task(cache=PINNED)
def add(x: int, y: int = 1) -> int:
    return x + y


class Image:
    def get_version(self, salt: str, params: VersionParameters) -> str:
        return f"{salt} {params.image}"


def key(task: Any, caching: Caching = Caching(), owner: Owner = Owner(), **inputs: Any) -> CachedCall | None:  # noqa: B008  # values
    spec = cache_spec(task)
    named = contents(task, inputs, spec, caching)
    return None if spec is None or named is None else cached_call(task, named, spec, caching, owner)


def test_a_task_that_keeps_nothing_has_no_cached_calls() -> None:
    assert key(add.override(cache="disable"), x=1) is None
    assert key(add, Caching(disabled=True), x=1) is None


def test_the_key_is_of_task_types_inputs_and_version() -> None:
    @env.task(cache=PINNED)
    def added(x: int, y: int = 1) -> int:
        return x + y

    def other() -> Any:
        @env.task(cache=PINNED)
        def add(x: float, y: int = 1) -> float:
            return x + y

        return add

    def later() -> Any:
        @env.task(cache=PINNED)
        def add(x: int, y: int = 2) -> int:
            return x + y

        return add

    second = add.override(cache=flyte.Cache("auto", version_override="2"))
    calls = [
        key(add, x=1),
        key(added, x=1),
        key(other(), x=1),
        key(later(), x=1),
        key(second, x=1),
        key(add, x=2),
    ]

    assert len({call.key for call in calls if call is not None}) == len(calls)
    assert key(later(), x=1, y=1) == key(add, x=1)


def test_a_call_says_which_results_will_do() -> None:
    aged = add.override(cache=flyte.Cache("auto", version_override="1", max_age=60, serialize=True))
    call = key(aged, Caching(own_project=True), Owner("vision", "dev"), x=1)
    plain = key(add, x=1)

    assert call is not None
    assert plain is not None
    assert (call.max_age_s, call.serialize, call.own, call.read) == (60.0, True, True, True)
    assert (bool(call.owner), plain.owner, call.key == plain.key) == (True, "", True)
    assert [call.read for call in (key(add, Caching(overwrite=True), x=1), plain) if call] == [False, True]


def test_policies_are_given_the_image_and_the_salt() -> None:
    pictured = flyte.Cache("auto", policies=Image(), salt="s")
    task = flyte.TaskEnvironment(name="pictured", image="ghcr.io/a/b:1").task(cache=pictured)(add.func)
    spec = cache_spec(task)

    assert spec is not None
    assert spec.version == pictured.get_version(VersionParameters(add.func, "ghcr.io/a/b:1"))


def test_what_is_bound_to_a_function_counts_as_its_code() -> None:
    class Scaler:
        def __init__(self, by: int) -> None:
            self.by = by

        def scale(self, x: int) -> int:
            return self.by * x

    plain = flyte.Cache("auto")
    functions = [functools.partial(add.func, y=1), functools.partial(add.func, y=2), add.func]
    functions += [Scaler(1).scale, Scaler(2).scale]
    versions = [cache_spec(env.task(cache=plain)(each)) for each in functions]

    assert len({each.version for each in versions if each}) == len(functions)
    assert cache_spec(env.task(cache=plain)(Scaler(2).scale)) == versions[-1]


def test_unknown_ignored_inputs_are_an_error_where_the_task_is_declared_or_overridden() -> None:
    cache = flyte.Cache("auto", ignored_inputs=("vebrose",))

    def quiet(x: int, verbose: bool = False) -> int:
        return x

    with pytest.raises(ValueError, match=r"'vebrose'.*x, verbose.*Did you mean 'verbose'"):
        env.task(cache=cache)(quiet)
    with pytest.raises(ValueError, match="'vebrose'"):
        env.task(quiet).override(cache=cache)
    shared = flyte.TaskEnvironment(name="shared", cache=flyte.Cache("auto", ignored_inputs="verbose"))
    assert shared.task(add.func).cache.is_enabled()
