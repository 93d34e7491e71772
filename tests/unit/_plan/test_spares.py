from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI

import flyteray as flyte
from flyteray._plan.apps import app_spec
from flyteray._plan.spares import BLANK, kind_of
from flyteray._plan.spec import NO_IMAGE, AppSpec, CodeRef, Start
from flyteray.app import AppEnvironment, Parameter, Scaling
from flyteray.app.extras import FastAPIAppEnvironment

CODE = CodeRef(bundle="abc", module="web", name="env")


def spec(**fields: Any) -> AppSpec:
    return app_spec(FastAPIAppEnvironment(name="web", app=FastAPI(), **fields), CODE)


def test_an_app_that_asks_for_nothing_becomes_one_of_any_processes() -> None:
    assert kind_of(spec()) == BLANK
    assert kind_of(spec(), Start(key="built")) == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"env_vars": {"PYTHONHASHSEED": "1"}},
        {"resources": flyte.Resources(cpu=1)},
        {"resources": flyte.Resources(cpu="100m")},
        {"parameters": [Parameter("greeting", value="hi", env_var="GREETING")]},
    ],
    ids=str,
)
def test_a_process_that_python_must_be_started_for_is_no_blank_one(fields: dict[str, Any]) -> None:
    assert kind_of(spec(**fields)) == ""


def test_a_version_with_spares_has_processes_of_its_own() -> None:
    one, two, none = (spec(scaling=Scaling((1, 4), spare=number)) for number in (1, 2, 0))

    assert kind_of(one, NO_IMAGE) == one.version_id
    assert len({one.version_id, two.version_id, none.version_id}) == 3
    assert none.version_id == spec().version_id
    assert (one.spare, two.spare) == (1, 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"resources": flyte.Resources(gpu=1)}, "asks for an accelerator"),
        ({"resources": flyte.Resources(gpu="T4:1")}, "asks for an accelerator"),
        ({"image": flyte.Image.from_base("example.com/web:1")}, r"runs in a container \(example.com/web:1\)"),
    ],
    ids=str,
)
def test_who_can_have_no_spare_processes_is_told_why(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=f"App 'web' {words}.* so it can't have Scaling\\(spare=2\\)"):
        spec(scaling=Scaling(spare=2), **fields)


def test_a_program_may_have_spare_processes() -> None:
    program = AppEnvironment(name="program", args=["serve"], scaling=Scaling(spare=1))

    assert kind_of(app_spec(program, CODE)).startswith("program-")
