from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from flyteray._plan.values.pickling import (
    INLINE,
    LARGEST,
    Own,
    Payload,
    dump,
    in_storage,
    inline,
    load,
    returned,
    returning,
)
from flyteray.errors import ModuleLoadError
from flyteray.storage.pickler import main_name

SCRIPT = """
import pickle, subprocess, sys
from dataclasses import dataclass
from enum import Enum
from pydantic import BaseModel
from flyteray._plan.values.pickling import Own, dump, load

class Color(Enum):
    RED = "red"

@dataclass
class Point:
    x: int
    color: Color

class Model(BaseModel):
    point: Point

class Outer:
    class Inner:
        pass

def double(x):
    return 2 * x

def make_adder(n):
    def add(x):
        return double(x) + n
    return add

def decorated(function):
    def wrapper(x):
        return function(x) + 1
    return wrapper

@decorated
def hidden(x):  # the name leads to wrapper, not to what has this qualified name
    return x

def values():
    return {
        "class": Point,
        "enum": Color.RED,
        "dataclass": Point(1, Color.RED),
        "pydantic": Model(point=Point(2, Color.RED)),
        "inner": Outer.Inner(),
        "function": double,
    }

if __name__ == "__main__":
    everything = {**values(), "nested": make_adder(3), "lambda": lambda x: x + 1, "hidden": hidden}
    answer = subprocess.run(WORKER_COMMAND, input=pickle.dumps(dump(everything)), capture_output=True)
    assert answer.returncode == 0, answer.stderr.decode()
    back = load(pickle.loads(answer.stdout))
    assert back["class"] is Point
    assert back["enum"] is Color.RED
    assert type(back["dataclass"]) is Point and back["dataclass"] == Point(1, Color.RED)
    assert type(back["pydantic"]) is Model and type(back["pydantic"].point) is Point
    assert type(back["inner"]) is Outer.Inner
    assert back["function"] is double
    print("same classes on both sides")
"""

WORKER = """
import pickle, sys
from flyteray._plan.values.pickling import Own, dump, load
received = load(pickle.load(sys.stdin.buffer))
module = sys.modules[MODULE]
assert received["class"] is module.Point
assert received["enum"] is module.Color.RED
assert type(received["pydantic"].point) is module.Point
assert received["function"] is module.double
assert received["nested"](1) == 5 and received["lambda"](1) == 2 and received["hidden"](1) == 2
sys.stdout.buffer.write(pickle.dumps(dump(module.values())))
"""


def run_script(
    folder: Path, file: str, module: str, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    worker = WORKER.replace("MODULE", repr(module))
    path = folder / file
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(SCRIPT.replace("WORKER_COMMAND", repr([sys.executable, "-c", worker])))
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("file", "module", "arguments"),
    [
        pytest.param("app.py", "app", ["app.py"], id="a file"),
        pytest.param("my-app.py", "my-app", ["my-app.py"], id="a file whose name is no identifier"),
        pytest.param("pkg/mod.py", "pkg.mod", ["-m", "pkg.mod"], id="a module of a package"),
    ],
)
def test_what_a_script_defines_is_the_same_here_and_on_a_worker(
    tmp_path: Path, file: str, module: str, arguments: list[str]
) -> None:
    result = run_script(tmp_path, file, module, arguments)

    assert result.stdout.strip() == "same classes on both sides", result.stderr


def test_code_without_a_file_travels_by_value() -> None:
    code = """
import pickle, subprocess, sys
from flyteray._plan.values.pickling import dump
from flyteray.storage.pickler import alias_main
class Point: x = 3
assert alias_main() is None
worker = '''
import pickle, sys
from flyteray._plan.values.pickling import load
print(load(pickle.load(sys.stdin.buffer)).x)
'''
print(subprocess.check_output([sys.executable, "-c", worker], input=pickle.dumps(dump(Point()))).decode())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert result.stdout.strip() == "3", result.stderr


def test_a_script_named_like_a_loaded_module_does_not_replace_it(tmp_path: Path) -> None:
    script = tmp_path / "json.py"
    script.write_text(
        "import sys\nsys.path.pop(0)\nimport json\n"
        "from flyteray.storage.pickler import alias_main\n"
        "print(alias_main(), json is sys.modules['json'])"
    )

    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)

    assert result.stdout.split() == ["None", "True"], result.stderr


@pytest.mark.parametrize(
    ("file", "expected"),
    [("/a/app.py", "app"), ("/usr/bin/flyteray", None), ("/a/b.c.py", None), (None, None)],
)
def test_the_name_of_a_script_is_its_stem(file: str | None, expected: str | None) -> None:
    main = ModuleType("__main__")
    main.__file__ = file

    assert main_name(main) == expected


def test_large_buffers_are_views_of_the_value() -> None:
    array = np.zeros(100_000)

    payload = dump({"weights": array})
    array[0] = 7

    assert len(payload.header) < 1000
    assert load(payload)["weights"][0] == 7
    assert payload.nbytes == len(payload.header) + array.nbytes


def test_an_input_that_can_not_be_pickled_is_named_with_its_place() -> None:
    value = {"config": [1, {"lock": threading.Lock()}]}

    with pytest.raises(
        TypeError, match=r"x\['config'\]\[1\]\['lock'\] is a _thread.lock, which can't be pickled"
    ):
        dump(value, "x")


def test_what_a_function_uses_is_searched_for_the_culprit() -> None:
    lock = threading.Lock()

    def guarded() -> None:
        with lock:
            pass

    with pytest.raises(TypeError, match=r"handler uses lock is a _thread.lock"):
        dump(guarded, "handler")


def test_a_value_that_contains_itself_is_searched_once() -> None:
    value: list[object] = [threading.Lock()]
    value.insert(0, value)

    with pytest.raises(TypeError, match=r"value\[1\] is a _thread.lock"):
        dump(value)


def test_a_value_of_a_missing_module_says_which(tmp_path: Path) -> None:
    (tmp_path / "gone.py").write_text(
        "import pickle, sys\nfrom flyteray._plan.values.pickling import dump\n"
        "class Point: pass\nsys.stdout.buffer.write(pickle.dumps(dump(Point())))"
    )

    payload = pickle.loads(subprocess.check_output([sys.executable, str(tmp_path / "gone.py")]))

    with pytest.raises(ModuleLoadError, match=r"gone.Point can't be read here: there is no module 'gone'"):
        load(payload)


@pytest.mark.parametrize(
    "value", [None, 5, "text", b"bytes", b"x" * 100_000, (1, "two"), [1], {"a": 1}, Own(3)]
)
def test_what_a_worker_returns_is_itself_again_whatever_ray_carries(value: object) -> None:
    carried = pickle.loads(pickle.dumps(returning(value)))

    assert returned(carried) == (3 if isinstance(value, Own) else value)


def test_a_small_value_is_returned_as_bytes() -> None:
    assert isinstance(returning(5), bytes)
    assert isinstance(returning(b"bytes"), bytes)
    assert not isinstance(returning(b"x" * 100_000), bytes)


def test_a_value_of_our_own_arrives_as_itself_through_any_pickler() -> None:
    class Local:
        x = 3

    arrived = pickle.loads(pickle.dumps(Own({"local": Local(), "array": np.zeros(3)}), protocol=5))

    assert type(arrived["local"]) is Local
    assert arrived["array"].shape == (3,)


def test_what_can_not_be_pickled_is_named_also_where_nothing_shows_itself() -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise RuntimeError("no words")

    def recursive() -> object:
        return recursive() or lock

    lock = threading.Lock()
    with pytest.raises(TypeError, match=r"inputs\['x'\]\[<Unshowable instance at .*\] is a _thread.lock"):
        dump({"x": {Unshowable(): lock}}, "inputs")
    with pytest.raises(TypeError, match="recursive"):
        dump({"recursive": recursive}, "inputs")


@pytest.mark.parametrize(
    ("value", "here", "there"),
    [
        (1, True, False),
        ("x" * 2 * INLINE, False, True),
        (np.zeros(INLINE), False, True),
        (np.zeros(LARGEST // 8 + 1), False, False),
    ],
    ids=["small", "text", "array", "huge"],
)
def test_small_inputs_travel_larger_ones_are_kept_in_storage_and_huge_ones_are_not(
    value: object, here: bool, there: bool
) -> None:
    payload = dump({"x": value}, "inputs")

    assert (inline(payload) is not None, in_storage(payload)) == (here, there)
    if data := inline(payload):
        assert load(Payload(data, [])) == {"x": value}
