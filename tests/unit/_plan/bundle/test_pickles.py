"""What is defined at a prompt, in ``python -c`` or in a notebook is pickled here and loaded in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import flyteray
from flyteray._plan.bundle import code, references
from flyteray._plan.bundle.shipping import Shipping
from flyteray.errors import CodeBundleError, ModuleLoadError

WORKER = """
import json, sys
from pathlib import Path
from flyteray._plan.bundle import bundle, code, references
from flyteray._plan.spec import CodeRef

ref, path, = CodeRef.model_validate_json(sys.argv[1]), Path(sys.argv[2])
folder = bundle.activate(ref.bundle, lambda: path.read_bytes(), Path(sys.argv[3]))
loaded = references.load(ref, folder)
again, same = code.ship(loaded)
assert again == ref and same.contents is None, again
assert references.load(ref, folder) is loaded
"""

SHIP = """
import subprocess, sys
from pathlib import Path
from flyteray._plan.bundle import code

def check(declared, expression):
    ref, made = code.ship(declared)
    assert ref.module == "" and ref.name == declared.name, ref
    Path("code.zip").write_bytes(made.data)
    script = WORKER + "\\nprint(json.dumps([" + expression + "]))"
    command = [sys.executable, "-c", script, ref.model_dump_json(), "../code.zip", "cache"]
    print("ANSWER", subprocess.check_output(command, cwd="here", text=True).strip(), flush=True)
""".replace("WORKER", repr(WORKER))

TASKS = """
import flyteray
from dataclasses import dataclass

env = flyteray.TaskEnvironment("typed")
FACTOR = 3

@dataclass
class Point:
    x: int

@env.task
def child(x: int) -> int:
    import pk_lazy

    return x * FACTOR + pk_lazy.ONE

@env.task
def parent(x: int) -> int:
    from pk_pkg.helper import shift

    return shift(child(Point(x).x))

import threading
lock = threading.Lock()

@env.task
def unrelated() -> None:
    with lock:
        pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    (tmp_path / "pk_pkg").mkdir()
    (tmp_path / "pk_pkg/__init__.py").write_text("")
    (tmp_path / "pk_pkg/helper.py").write_text(
        "from pk_other import STEP\ndef shift(x):\n    return x + STEP\n"
    )
    (tmp_path / "pk_other.py").write_text("STEP = 100\n")
    (tmp_path / "pk_lazy.py").write_text("ONE = 1\n")
    return tmp_path


def session(folder: Path, typed: str, *how: str) -> str:
    """What a Python session prints; the process that it ships to finds none of the folder's modules by itself."""
    (folder / "prepared.txt").write_text(SHIP)
    text = f"exec(open('prepared.txt').read())\n{typed}"
    if how[-1] == "-c":
        command, given = [sys.executable, *how, text], None
    else:
        command, given = [sys.executable, *how], text
    result = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "ANSWER" in result.stdout, result.stderr
    return result.stdout.partition("ANSWER")[2].strip().partition("\n")[0]


def test_a_task_of_a_command_line_brings_the_tasks_and_modules_that_it_reaches(folder: Path) -> None:
    answer = session(folder, f"{TASKS}\ncheck(parent, 'loaded(5), sorted(loaded.parent_env().tasks)')", "-c")

    assert answer == '[116, ["typed.child", "typed.parent"]]'


def test_a_task_typed_at_a_prompt_after_a_script_is_in_no_file(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import flyteray\nenv = flyteray.TaskEnvironment('typed')\nNAME = 'script'\n"
    )
    typed = "import sys\n@env.task\ndef work() -> str:\n    return NAME\n\ncheck(work, 'loaded()')\n"

    assert session(folder, typed, "-i", "script.py") == '["script"]'


def test_an_ipython_session_has_no_file(folder: Path) -> None:
    typed = f"""
import sys
import __main__
del __main__.__file__
cell = {TASKS!r}
exec(compile(cell, "/tmp/ipykernel_1/2.py", "exec"), vars(__main__))
check(parent, "loaded(5)")
"""
    (folder / "kernel.py").write_text("exec(open('prepared.txt').read())\n" + typed)

    assert session(folder, "", "kernel.py") == "[116]"


def test_a_closure_of_a_script_brings_the_script(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import flyteray\n"
        "env = flyteray.TaskEnvironment('made')\n"
        "def double(x):\n    return 2 * x\n"
        "def make(n):\n"
        "    @env.task\n"
        "    def add(x: int) -> int:\n        return double(x) + n\n"
        "    return add\n"
        "if __name__ == '__main__':\n"
        "    exec(open('prepared.txt').read())\n"
        "    check(make(5), 'loaded(10)')\n"
    )

    assert session(folder, "", "script.py") == "[25]"


def test_what_a_script_defines_when_it_is_run_alone_is_in_no_module(folder: Path) -> None:
    (folder / "script.py").write_text(
        "import flyteray\n"
        "def double(x):\n    return 2 * x\n"
        "if __name__ == '__main__':\n"
        "    env = flyteray.TaskEnvironment('guarded')\n"
        "    class Point:\n"
        "        def __init__(self, x):\n            self.x = x\n"
        "    @env.task\n"
        "    def work(x: int) -> int:\n        return double(Point(x).x)\n"
        "    exec(open('prepared.txt').read())\n"
        "    check(work, 'loaded(4)')\n"
    )

    assert session(folder, "", "script.py") == "[8]"


def test_an_app_of_a_session_brings_its_application_and_its_hooks(folder: Path) -> None:
    typed = """
import flyteray.app
from fastapi import FastAPI
from pydantic import BaseModel
from flyteray.app.extras import FastAPIAppEnvironment

class Item(BaseModel):
    size: int

api = FastAPI(title="typed")
api.state.greeting = "hello"

@api.post("/items")
def items(item: Item) -> str:
    return f"{api.state.greeting} {item.size}"

env = FastAPIAppEnvironment("typed-api", app=api)

@env.on_startup
def start() -> int:
    from pk_pkg.helper import shift
    return shift(1)

ASK = "__import__('fastapi.testclient').testclient.TestClient(loaded.app).post('/items', json={'size': 3}).json()"
check(env, f"loaded.kind, loaded._on_startup(), {ASK}")
"""

    assert session(folder, typed, "-c") == '["asgi", 101, "hello 3"]'


def make_task(held: object) -> flyteray.Task:
    env = flyteray.TaskEnvironment("nested")

    @env.task
    def work() -> str:
        return str(held)

    return work


def test_what_can_not_be_pickled_is_named() -> None:
    import threading

    with pytest.raises(
        CodeBundleError, match=r"'nested\.work' has no importable home.*is a _thread\.lock.*Make it inside"
    ):
        code.ship(make_task(threading.Lock()))


def test_pickling_can_be_forbidden() -> None:
    with pytest.raises(
        CodeBundleError, match=r"'nested\.work' can't be shipped by name.*interactive_mode=None"
    ):
        code.ship(make_task(1), Shipping(interactive=False))
    with pytest.raises(CodeBundleError, match=r"can't be shipped by name.*top level of a file\."):
        code.ship(make_task(1), Shipping(copy_style="none", version="v1"))


def test_two_tasks_of_one_name_are_refused() -> None:
    other = make_task(2)

    with pytest.raises(CodeBundleError, match=r"Two different tasks are named 'nested\.work'"):
        code.ship(make_task(other))


def test_what_is_pickled_includes_no_files(tmp_path: Path) -> None:
    env = flyteray.TaskEnvironment("nested", include=("data",))

    @env.task
    def work() -> None: ...

    with pytest.raises(
        ValueError, match=r"'nested' includes \('data',\).*is pickled, .*top level of a \.py file"
    ):
        code.ship(work)


def test_a_task_that_was_not_shipped_is_told(tmp_path: Path) -> None:
    from flyteray._plan.spec import CodeRef

    with pytest.raises(ModuleLoadError, match=r"'nested\.gone' was not shipped"):
        references.load(CodeRef(bundle="x", module="", name="nested.gone"), tmp_path)


def test_what_can_not_be_unpickled_has_the_reason_as_cause(tmp_path: Path) -> None:
    from flyteray._plan.spec import CodeRef

    (tmp_path / ".flyteray").mkdir()
    (tmp_path / ".flyteray/pickled").write_bytes(b"cgone\nthing\n.")

    with pytest.raises(ModuleLoadError, match="could not be unpickled: ModuleNotFoundError") as caught:
        references.load(CodeRef(bundle="x", module="", name="nested.work"), tmp_path)

    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
