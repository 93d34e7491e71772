from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import pytest

from flyteray import Resources, RetryStrategy, Task, TaskEnvironment
from flyteray._declare.context import runtime
from flyteray.errors import SyncTaskCallInAsyncContextError
from flyteray.models import NativeInterface

env = TaskEnvironment("calc", env_vars={"MODE": "fast"}, resources=Resources(cpu=2))


@env.task
def double(x: int, *, plus: int = 0) -> int:
    """Twice as much."""
    return 2 * x + plus


@env.task(short_name="thrice", retries=3)
async def triple(x: int) -> int:
    return 3 * x


@env.task
async def later(x: Later) -> Later:
    return x


class Later: ...


class Pair(NamedTuple):
    left: int
    right: str


class RecordingRuntime:
    """Answers task calls by telling what was called and how."""

    def call(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return ("blocking", task.name, args, kwargs)

    async def acall(self, task: Task[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return ("awaited", task.name, args, kwargs)


@contextmanager
def inside_a_run() -> Iterator[None]:
    token = runtime.set(RecordingRuntime())
    try:
        yield
    finally:
        runtime.reset(token)


def test_a_task_knows_its_names_and_what_it_inherits() -> None:
    assert (double.name, double.short_name, double.docs) == ("calc.double", "double", "Twice as much.")
    assert (triple.name, triple.short_name, triple.retries) == ("calc.triple", "thrice", RetryStrategy(3))
    assert double.parent_env() is env
    assert double.resources == Resources(cpu=2)
    assert double.env_vars == {"MODE": "fast"}
    assert env.tasks["calc.double"] is double


def test_a_task_looks_like_its_function() -> None:
    assert double.__name__ == "double"
    assert double.__doc__ == "Twice as much."
    assert list(inspect.signature(double).parameters) == ["x", "plus"]


def test_decorating_again_replaces_the_task() -> None:
    other = TaskEnvironment("other")
    first = other.task(double.func)
    second = other.task(double.func)

    assert first is not second
    assert other.tasks == {"other.double": second}


def test_the_interface_has_types_and_defaults_in_order() -> None:
    inputs = double.interface.inputs

    assert list(inputs) == ["x", "plus"]
    assert (inputs["x"].type, inputs["x"].required) == (int, True)
    assert (inputs["plus"].default, inputs["plus"].required) == (0, False)
    assert double.interface.outputs == {"o0": int}


def test_the_interface_is_read_as_flytes_is() -> None:
    interface = double.interface

    assert interface.inputs == {"x": (int, inspect.Parameter.empty), "plus": (int, 0)}
    kind, default = interface.inputs["plus"]
    assert (kind, default) == (int, 0)
    assert (interface.required_inputs(), interface.num_required_inputs()) == (["x"], 1)
    assert interface.get_input_types() == {"x": int, "plus": int}
    assert interface.has_outputs()
    assert isinstance(interface, NativeInterface)
    assert NativeInterface.from_callable(double.func) == interface


def test_a_task_that_returns_nothing_has_no_outputs() -> None:
    def silent() -> None: ...

    def unsaid(): ...  # type: ignore[no-untyped-def]

    for func in (silent, unsaid):
        interface = TaskEnvironment("a").task(func).interface
        assert (interface.outputs, interface.has_outputs()) == ({}, False)


def test_types_defined_after_the_task_are_found() -> None:
    assert later.interface.outputs == {"o0": Later}


def test_tuples_of_several_are_several_outputs() -> None:
    def two() -> tuple[int, str]:
        return 1, "a"

    def named() -> Pair:
        return Pair(1, "a")

    expected = {"o0": int, "o1": str}

    assert TaskEnvironment("a").task(two).interface.outputs == expected
    assert TaskEnvironment("a").task(named).interface.outputs == expected


def test_an_unknown_type_is_any_with_a_warning_that_names_it_when_it_is_needed() -> None:
    def broken(x: Somewhere, y: list[Elsewhere], z: int) -> Nowhere:  # type: ignore[name-defined]  # noqa: F821
        ...

    task = TaskEnvironment("a").task(broken)

    with pytest.warns(UserWarning, match="can't be found") as told:
        interface = task.interface
    assert interface.outputs == {"o0": Any}
    assert {name: each.type for name, each in interface.inputs.items()} == {
        "x": Any,
        "y": list[Any],
        "z": int,
    }
    words = [str(each.message) for each in told]
    assert "Task 'a.broken': the type of input 'x' is Somewhere: 'Somewhere' can't be found" in words[0]
    assert "'y' is list[Elsewhere]: 'Elsewhere'" in words[1]
    assert "its return type is Nowhere: 'Nowhere'" in words[2]
    assert [each.filename for each in told] == [__file__] * 3
    assert task.interface is interface


def variable(*args: int) -> None: ...


def variable_keywords(**kwargs: int) -> None: ...


def positional_only(x: int, /) -> None: ...


class Press:
    def method(self, x: int) -> None: ...


def one_tuple() -> tuple[int]:
    return (1,)


def endless_tuple() -> tuple[int, ...]:
    return ()


@pytest.mark.parametrize(
    ("func", "error", "words"),
    [
        (variable, ValueError, "Function variable cannot have variable positional or keyword arguments"),
        (variable_keywords, ValueError, "cannot have variable positional or keyword arguments"),
        (positional_only, ValueError, "positional-only"),
        (Press.method, ValueError, "Function method takes 'self', and a task is no method"),
        (one_tuple, TypeError, "one_tuple"),
        (endless_tuple, TypeError, "no fixed length"),
        (3, TypeError, "Only a function"),
        (double, TypeError, "Only a function"),
        (Later, TypeError, "Only a function"),
    ],
)
def test_what_can_not_be_a_task_is_refused_when_decorated(
    func: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        TaskEnvironment("a").task(func)


@pytest.mark.parametrize("retries", [-1, 1.5, "3", True])
def test_bad_retries_are_refused_when_decorated(retries: Any) -> None:
    with pytest.raises(ValueError, match=r"retries|count"):
        TaskEnvironment("a").task(retries=retries)(double.func)


def test_unknown_options_are_refused_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"cach.*short_name"):
        TaskEnvironment("a").task(cach="auto")  # type: ignore[call-overload]


def test_outside_a_run_a_call_is_the_function() -> None:
    assert double(4, plus=1) == 9
    assert asyncio.run(triple(4)) == 12
    assert asyncio.run(double.aio(4)) == 8
    assert asyncio.run(triple.aio(4)) == 12


def test_inside_a_run_an_async_call_is_a_child_action_when_awaited() -> None:
    with inside_a_run():
        answer: Any = asyncio.run(triple(4))
        twin: Any = asyncio.run(triple.aio(x=4))

    assert answer == ("awaited", "calc.triple", (4,), {})
    assert twin == ("awaited", "calc.triple", (), {"x": 4})


def test_inside_a_run_a_sync_call_blocks_for_a_child_action() -> None:
    with inside_a_run():
        answer: Any = double(4, plus=1)

    assert answer == ("blocking", "calc.double", (4,), {"plus": 1})


def test_a_sync_call_from_async_code_is_refused_with_the_way_out() -> None:
    async def parent() -> int:
        return double(4)

    with inside_a_run(), pytest.raises(SyncTaskCallInAsyncContextError, match=r"await double\.aio"):
        asyncio.run(parent())


def test_a_sync_task_is_awaited_through_aio() -> None:
    with inside_a_run():
        answer: Any = asyncio.run(double.aio(4))

    assert answer == ("awaited", "calc.double", (4,), {})


def test_forward_is_the_function_also_inside_a_run() -> None:
    with inside_a_run():
        assert double.forward(4) == 8
        assert asyncio.run(triple.forward(4)) == 12


def test_an_override_leaves_the_original_as_it_is() -> None:
    big = double.override(resources=Resources(cpu=8), env_vars={"A": "1"}, short_name="big", retries=2)

    assert (big.resources, big.env_vars, big.short_name) == (Resources(cpu=8), {"A": "1"}, "big")
    assert big.retries.count == 2
    assert (big.name, big(4)) == ("calc.double", 8)
    assert (double.resources, double.env_vars) == (Resources(cpu=2), {"MODE": "fast"})


def test_an_override_can_take_retries_away() -> None:
    assert triple.override(retries=0).retries.count == 0
    assert triple.override(short_name="x").retries.count == 3


@pytest.mark.parametrize("fixed", ["name", "image", "docs", "interface"])
def test_what_makes_the_task_can_not_be_overridden(fixed: str) -> None:
    with pytest.raises(ValueError, match=f"{fixed.capitalize()} cannot be overridden"):
        double.override(**{fixed: "x"})


@pytest.mark.parametrize("wrong", [{"resource": 1}, {"resources": 1}, {"env_vars": {"A": 1}}])
def test_a_bad_override_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        double.override(**wrong)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps], ids=["pickle", "cloudpickle"])
def test_a_task_travels_by_name(dumps: Callable[[object], bytes]) -> None:
    assert pickle.loads(dumps(double)) is double
    assert pickle.loads(dumps([triple, env]))[0] is triple


def test_an_overridden_task_travels_as_task_and_overrides() -> None:
    big = pickle.loads(pickle.dumps(double.override(resources=Resources(cpu=8))))

    assert big.resources == Resources(cpu=8)
    assert big.func is double.func


def test_a_task_without_a_global_name_travels_by_value() -> None:
    factor = 5

    @env.task
    def local(x: int) -> int:
        return factor * x

    assert pickle.loads(cloudpickle.dumps(local))(2) == 10


def test_the_coroutine_of_a_call_can_be_gathered() -> None:
    async def parent() -> list[int]:
        calls: list[Coroutine[Any, Any, int]] = [triple(1), triple(2), double.aio(3)]
        return await asyncio.gather(*calls)

    assert asyncio.run(parent()) == [3, 6, 6]


SCRIPT = """
import pathlib, sys
from flyteray import Resources, TaskEnvironment
from flyteray._plan.values.pickling import dump
import pickle

env = TaskEnvironment("calc")

@env.task
def work(x: int) -> int:
    return x

if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_bytes(pickle.dumps(dump([work, work.override(resources=Resources(cpu=4))])))
"""
READER = """
import pathlib, pickle, sys
import app
from flyteray._plan.values.pickling import load

task, big = load(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))
assert task is app.work
assert big.func is app.work.func and big.resources.cpu == 4
"""


def test_a_task_of_a_script_is_the_same_task_on_a_worker(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SCRIPT)
    (tmp_path / "reader.py").write_text(READER)

    for script in ("app.py", "reader.py"):
        subprocess.run([sys.executable, tmp_path / script, tmp_path / "pickled"], check=True)


def test_an_override_of_an_override_knows_the_declared_task() -> None:
    changed = double.override(retries=2).override(secrets="TOKEN")

    assert changed.declared() is double is double.declared()
    assert [secret.key for secret in changed.secret_list()] == ["TOKEN"]
    assert double.override(secrets=[]).secret_list() == double.secret_list() == []
    with pytest.raises(TypeError, match="secrets must be a str"):
        double.override(secrets=5)


def test_several_outputs_may_be_written_as_a_bare_tuple_of_types() -> None:
    def pair():  # type: ignore[no-untyped-def]
        return 1, "one"

    pair.__annotations__["return"] = (int, str)

    assert env.task(pair).interface.outputs == {"o0": int, "o1": str}
