"""Every public class names the module that users import it from."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import typing
from types import ModuleType

import cloudpickle
import pydantic
import pytest

MODULES = [
    "flyteray",
    *(
        f"flyteray.{name}"
        for name in ("app", "config", "errors", "io", "models", "remote", "report", "types")
    ),
]
MODULES += [
    "flyteray.app.extras",
    "flyteray.extend",
    "flyteray.io.extend",
    "flyteray.storage",
    "flyteray.syncify",
]
ALIASES = {
    "flyteray.AsyncFunctionTaskTemplate",
    "flyteray.TaskTemplate",
    "flyteray.extend.AsyncFunctionTaskTemplate",
    "flyteray.extend.TaskTemplate",
    "flyteray.with_runcontext",
    "flyteray.with_servecontext",
    "flyteray.models.NativeInterface",
    "flyteray.remote.Condition",
    "flyteray.remote.Task",
}


def public_classes() -> dict[str, type]:
    found = {}
    for module in MODULES:
        names = importlib.import_module(module)
        found |= {f"{module}.{name}": getattr(names, name) for name in names.__all__}
    return {name: each for name, each in found.items() if isinstance(each, type) and name not in ALIASES}


CLASSES = public_classes()
ONLY_FOR_TYPE_CHECKERS = ("gradio", "uvicorn")  # heavy ones


@pytest.mark.parametrize("name", CLASSES)
def test_a_public_class_names_its_public_module(name: str) -> None:
    nearest = min(
        (each for each in CLASSES if CLASSES[each] is CLASSES[name]), key=lambda each: each.count(".")
    )

    assert f"{CLASSES[name].__module__}.{CLASSES[name].__qualname__}" == nearest


def missing_name(cls: type) -> str | None:
    """The name in a class's annotations that can't be found."""
    try:
        typing.get_type_hints(cls)
    except NameError as error:
        return error.name
    return None


@pytest.mark.parametrize("name", CLASSES)
def test_annotations_of_a_public_class_are_found(name: str) -> None:
    assert missing_name(CLASSES[name]) in (None, *ONLY_FOR_TYPE_CHECKERS)


@pytest.mark.parametrize("kind", [pickle, cloudpickle], ids=["pickle", "cloudpickle"])
def test_a_public_class_is_pickled_by_its_public_name(kind: ModuleType) -> None:
    pickled = {name: kind.dumps(each) for name, each in CLASSES.items()}

    assert {name: pickle.loads(each) for name, each in pickled.items()} == CLASSES
    assert [name for name, each in pickled.items() if b"._" in each] == []


def test_a_process_that_has_imported_nothing_reads_public_classes() -> None:
    code = "import pickle, sys; found = pickle.load(sys.stdin.buffer); print([each.__module__ for each in found])"
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps([*CLASSES.values()]), capture_output=True, check=True
    )

    assert done.stdout.decode().strip() == str([each.__module__ for each in CLASSES.values()])


@pytest.mark.parametrize("name", CLASSES)
def test_fields_of_a_public_dataclass_have_types(name: str) -> None:
    fields = vars(CLASSES[name]).get("__dataclass_fields__", {})
    own = [fields[each] for each in CLASSES[name].__annotations__ if each in fields]

    texts = [field.type for field in own if isinstance(field.type, str)]
    assert not texts or missing_name(CLASSES[name]) in ONLY_FOR_TYPE_CHECKERS


def test_public_dataclasses_are_fields_of_pydantic_models() -> None:
    class Deployment(pydantic.BaseModel):
        resources: flyteray.Resources
        later: Deployment | None = None

    import flyteray  # deferred: the model is made before its names are there

    Deployment.model_rebuild(_types_namespace={"flyteray": flyteray, "Deployment": Deployment})
    made = Deployment(resources={"cpu": 2}, later={"resources": {"memory": "1Gi"}})

    assert made.resources == flyteray.Resources(cpu=2)
    assert made.later is not None
    assert made.later.resources == flyteray.Resources(memory="1Gi")
