"""What the state of a task's code is called."""

from __future__ import annotations

import functools
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import flyteray as flyte
from flyteray._declare.options.cache import FunctionBodyPolicy, VersionParameters


def version(func: Any) -> str:
    return FunctionBodyPolicy().get_version("", VersionParameters(func))


def loaded(source: str, path: Path | None = None) -> Any:
    """The function ``f`` of a source, which is found in a file or in none."""
    names: dict[str, Any] = {"flyte": flyte, "env": flyte.TaskEnvironment("env")}
    if path is not None:
        path.write_text(source)
    exec(compile(source, str(path or "<made>"), "exec"), names)
    found = names["f"]
    return getattr(found, "func", found)


ONE = "def f(x):\n    return x in {'a', 'b', 'c'}\n"


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ("def f(x):  # what it does\n    return (x  in  {'a', 'b', 'c'})\n", True),
        ("@env.task\n" + ONE, True),
        ("@env.task(retries=3, cache='override')\n" + ONE, True),
        ("import functools\n@functools.lru_cache\n" + ONE, False),
        ("def f(x):\n    return x in {'a', 'b', 'd'}\n", False),
        ("def f(x, y=1):\n    return x in {'a', 'b', 'c'}\n", False),
    ],
)
def test_it_is_of_the_function_and_not_of_comments_layout_or_options(
    source: str, same: bool, tmp_path: Path
) -> None:
    told = version(loaded(source, tmp_path / "second.py"))

    assert (told == version(loaded(ONE, tmp_path / "first.py"))) is same


def test_a_function_without_source_has_one_by_its_code() -> None:
    assert version(loaded(ONE)) == version(loaded("\n\n" + ONE))
    assert version(loaded(ONE)) != version(loaded(ONE.replace("'c'", "'d'")))
    inner = "def f(x):\n    return [lambda y: y + 1, {number}]\n"
    assert version(loaded(inner.format(number=1))) != version(loaded(inner.format(number=2)))


def test_a_function_without_source_has_the_same_one_in_every_process() -> None:
    code = f"""
        from flyteray._declare.options.cache import FunctionBodyPolicy, VersionParameters
        names = {{}}
        exec({ONE!r}, names)
        print(FunctionBodyPolicy().get_version("", VersionParameters(names["f"])))
    """
    told = {
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(told) == 1


def test_lambdas_in_the_middle_of_a_line_partials_and_wrapped_functions_have_one() -> None:
    functions = {"one": lambda x: x + 1, "two": lambda x: x + 2}

    def plain(x: int) -> int:
        return x

    assert version(functions["one"]) != version(functions["two"])
    assert version(functools.partial(plain, x=1)) == version(plain) == version(functools.lru_cache(plain))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ignored_inputs": 3}, "names of inputs, got 3"),
        ({"ignored_inputs": ("a", 3)}, r"names of inputs, got \('a', 3\)"),
        ({"policies": 3}, "objects with get_version"),
        ({"policies": [FunctionBodyPolicy(), "body"]}, "objects with get_version"),
    ],
)
def test_what_a_cache_can_not_use_is_refused_where_it_is_said(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        flyte.Cache("auto", **options)
