from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys
from types import ModuleType
from typing import Literal, get_origin

import pytest

from flyteray import errors

PUBLIC = ["flyteray", "flyteray.app", "flyteray.app.extras", "flyteray.io", "flyteray.remote"]
# What only a verb needs, or only some users: it costs start-up time.
HEAVY = ["fastapi", "httpx", "numpy", "obstore", "ray", "sqlalchemy", "starlette", "uvicorn"]
MOST_MODULES = 200


def modules_after(statement: str) -> list[str]:
    """The modules outside the standard library that a fresh Python has loaded after a statement."""
    program = (
        f"import json, sys; before = set(sys.modules); {statement}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    names: list[str] = json.loads(output)
    return [name for name in names if name.split(".")[0] not in sys.stdlib_module_names]


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_sorted_and_equals_what_is_there(name: str) -> None:
    module = importlib.import_module(name)
    there = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not isinstance(value, ModuleType) and key != "annotations"
    }

    assert list(module.__all__) == sorted(module.__all__, key=lambda name: (not name.isupper(), name))
    assert set(module.__all__) == there


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
        if not inspect.getdoc(value := getattr(importlib.import_module(name), key))
        and get_origin(value) is not Literal  # carries none at run time
    ]

    assert undocumented == []


def test_importing_flyteray_is_light() -> None:
    loaded = modules_after("import flyteray")

    assert {name.split(".")[0] for name in loaded}.isdisjoint(HEAVY)
    assert len(loaded) <= MOST_MODULES


def test_declaring_needs_no_cluster() -> None:
    loaded = modules_after("import flyteray.app, flyteray.app.extras, flyteray.io, flyteray.errors")

    assert "ray" not in {name.split(".")[0] for name in loaded}
