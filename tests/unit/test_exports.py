from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Literal, Union, get_origin

import pytest

import flyteray
from flyteray import errors

PUBLIC = [
    "flyteray",
    "flyteray.app",
    "flyteray.app.extras",
    "flyteray.artifacts",
    "flyteray.config",
    "flyteray.extend",
    "flyteray.extras",
    "flyteray.git",
    "flyteray.io",
    "flyteray.io.extend",
    "flyteray.models",
    "flyteray.notify",
    "flyteray.remote",
    "flyteray.report",
    "flyteray.syncify",
    "flyteray.types",
]
# What only a verb needs, or only some users: it costs start-up time.
HEAVY = ["fastapi", "httpx", "numpy", "obstore", "pydantic", "ray", "sqlalchemy", "starlette", "uvicorn"]
# What each process imports that a run or an app on a new cluster waits for: only the controller imports Ray Serve.
NOT_IN_A_PROCESS = [
    *(
        "fastapi",
        "grpc",
        "httpx",
        "numpy",
        "obstore",
        "pandas",
        "pathspec",
        "pyarrow",
        "ray.serve",
        "sqlalchemy",
    ),
    *("starlette", "uvicorn", "flyteray.app", "flyteray.cli", "flyteray._client", "flyteray._serve"),
]
PROCESSES = {
    "flyteray._tasks.worker": ["cryptography", "flyteray._control", "flyteray._ingress"],
    "flyteray._tasks.execution": ["cryptography", "flyteray._control", "flyteray._ingress"],
    "flyteray._tasks.reuse.replica": ["cryptography", "flyteray._control", "flyteray._ingress"],
    "flyteray._tasks.reuse.pool": ["cryptography", "flyteray._control", "flyteray._ingress"],
    "flyteray._tasks.keeper": ["cryptography", "flyteray._control", "flyteray._ingress"],
    "flyteray._ingress.actor": ["flyteray._control", "flyteray._tasks", "flyteray.io", "ray", "yaml"],
    "flyteray._control.resident": ["pydantic", "ray", "yaml", "flyteray._ingress", "flyteray._plan"],
}
MOST_MODULES = 200  # all of them, also those that Python itself starts with


def modules_after(statement: str) -> list[str]:
    """The modules that a fresh Python has loaded after a statement."""
    program = f"import sys; {statement}; names = sorted(sys.modules); import json; print(json.dumps(names))"
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    names: list[str] = json.loads(output)
    return names


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_equals_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    there = {
        key
        for key in dir(module)
        if (not key.startswith("_") or key == "__version__") and key not in ("annotations", "TYPE_CHECKING")
        if not isinstance(getattr(module, key), ModuleType)
    }

    assert list(module.__all__) == sorted(module.__all__, key=lambda name: (not name.isupper(), name))
    assert set(module.__all__) == there


def test_what_is_imported_when_it_is_asked_for_is_what_type_checkers_are_told() -> None:
    tree = ast.parse(Path(flyteray.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    told = {
        alias.asname or alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    later = {name: module for module, names in flyteray._LATER.items() for name in names}
    assert told == later | dict.fromkeys(flyteray._PACKAGES, "flyteray")
    assert all(getattr(flyteray, name) is not None for name in told)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'flyteray' has no attribute 'rum'"):
        flyteray.rum  # noqa: B018


def test_every_error_is_public_and_drawn_in_the_tree() -> None:
    classes = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and not name.startswith("_")
    }
    drawn = {
        line.strip("├└│─ ").split(" ")[0] for line in (errors.__doc__ or "").splitlines() if "──" in line
    }

    assert list(errors.__all__) == sorted(errors.__all__)
    assert set(errors.__all__) == classes == drawn


def test_every_public_name_has_a_docstring() -> None:
    undocumented = [
        f"{name}.{key}"
        for name in PUBLIC
        for key in importlib.import_module(name).__all__
        if key != "__version__"
        if not inspect.getdoc(value := getattr(importlib.import_module(name), key))
        and get_origin(value) not in (Literal, Union)  # they carry none at run time
    ]

    assert undocumented == []


@pytest.mark.parametrize("statement", ["import flyteray", "from flyteray import TaskEnvironment, Image, ctx"])
def test_importing_flyteray_is_light(statement: str) -> None:
    loaded = modules_after(statement)

    assert {name.split(".")[0] for name in loaded}.isdisjoint(HEAVY)
    assert len(loaded) <= MOST_MODULES


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_imports_no_more_than_it_needs(process: str) -> None:
    loaded = modules_after(f"import {process}")

    without = NOT_IN_A_PROCESS + PROCESSES[process]
    assert [name for name in loaded for each in without if f"{name}.".startswith(f"{each}.")] == []


def test_declaring_needs_no_cluster() -> None:
    loaded = modules_after("import flyteray.app, flyteray.app.extras, flyteray.io, flyteray.errors")

    assert "ray" not in {name.split(".")[0] for name in loaded}
