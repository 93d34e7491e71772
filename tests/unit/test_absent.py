from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

import flyteray
from flyteray import _public

MODULES = [
    "flyteray",
    "flyteray.ai.agents",
    "flyteray.ai.chat",
    "flyteray.ai.mcp",
    "flyteray.clustered",
    "flyteray.connectors",
    "flyteray.extend",
    "flyteray.extras",
    "flyteray.extras.shell",
    "flyteray.extras.webhooks",
    "flyteray.prefetch",
    "flyteray.remote",
    "flyteray.sandbox",
]
NAMES = [(module, name) for module in MODULES for name in importlib.import_module(module)._INSTEAD]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_name_that_is_absent_can_be_imported_and_says_what_to_use_when_called(
    module: str, name: str
) -> None:
    there = importlib.import_module(module)
    absent = getattr(there, name)

    assert absent is getattr(there, name)
    with pytest.raises(NotImplementedError, match=f"^There is no {module}.{name}: ") as refusal:
        absent(name="any", image="thing")
    assert str(refusal.value).endswith((".", ")."))


@pytest.mark.parametrize("module", MODULES)
def test_a_name_that_flyte_has_not_either_is_an_attribute_error(module: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{module}' has no attribute 'nothing'"):
        importlib.import_module(module).nothing  # noqa: B018


def subclass(absent: Any) -> None:
    class Mine(absent):  # type: ignore[misc] # no static type
        pass


@pytest.mark.parametrize(
    "use",
    [lambda absent: absent.aio("x"), lambda absent: absent.register(int), subclass],
    ids=["aio", "method", "subclass"],
)
def test_methods_and_subclasses_are_refused_as_well(use: Callable[[Any], object]) -> None:
    with pytest.raises(
        NotImplementedError, match=r"There is no flyteray\.connectors\.AsyncConnector: connectors"
    ):
        use(flyteray.connectors.AsyncConnector)


def test_what_is_absent_may_be_an_annotation_and_nothing_is_an_instance_of_it() -> None:
    absent = flyteray.extras.ContainerTask

    def use(task: absent | None = None) -> None: ...  # type: ignore[valid-type] # no static type

    assert not isinstance(use, absent)
    assert "subprocess" in (absent.__doc__ or "")
    assert not hasattr(absent, "__fields__")


def test_the_refusal_names_its_part() -> None:
    assert str(_public.refused("the moon", "look at the sun.")) == "There is no the moon: look at the sun."
