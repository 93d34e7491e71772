"""What a plan says of an app's parameters, and values that are given when it is served."""

from __future__ import annotations

from typing import Any

import pytest

from flyteray._plan.apps import app_spec
from flyteray._plan.spec import CodeRef, OutputRef, ParameterSpec
from flyteray.app import AppEndpoint, AppEnvironment, Parameter, RunOutput
from flyteray.io import Dir, File

CODE = CodeRef(bundle="b", module="m", name="n")


def planned(*parameters: Parameter, given: dict[str, Any] | None = None) -> dict[str, ParameterSpec]:
    env = AppEnvironment(name="shop", args="serve", parameters=list(parameters))
    return {each.name: each for each in app_spec(env, CODE, parameter_values=given).parameters}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        ("large", "string", "large"),
        (File(path="s3://b/m.bin"), "file", "s3://b/m.bin"),
        (Dir(path="/data"), "directory", "/data"),
        (AppEndpoint("other"), "app_endpoint", "other"),
    ],
    ids=["str", "file", "dir", "endpoint"],
)
def test_a_value_given_when_serving_takes_the_place_of_the_declared_one(
    value: Any, kind: str, text: str
) -> None:
    found = planned(Parameter("p", "declared", env_var="P"), Parameter("q", "kept"), given={"p": value})

    assert (found["p"].kind, found["p"].value, found["p"].env_var) == (kind, text, "P")
    assert found["q"].value == "kept"


def test_an_output_may_be_given_when_serving() -> None:
    found = planned(Parameter("p"), given={"p": RunOutput("object", run_name="r")})

    assert found["p"].output == OutputRef(run_name="r")


def test_a_declared_type_stays_whatever_is_given() -> None:
    assert planned(Parameter("p", type="file"), given={"p": "s3://b/m.bin"})["p"].kind == "file"


def test_values_for_parameters_that_are_not_there_are_refused_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"'shop' has no parameter 'x', 'y'\. It has: 'p', 'q'\."):
        planned(Parameter("p", "1"), Parameter("q", "2"), given={"x": "1", "p": "2", "y": "3"})
    with pytest.raises(ValueError, match="It has: none"):
        planned(given={"x": "1"})


@pytest.mark.parametrize(
    "value",
    ["s3://b/m.bin", AppEndpoint("other"), RunOutput("object", run_name="r")],
    ids=["str", "app", "object"],
)
def test_only_files_and_directories_have_a_mount(value: Any) -> None:
    with pytest.raises(ValueError, match=r"'p' of app 'shop' has a mount, '/m', .* say type=\"file\""):
        planned(Parameter("p", value, mount="/m"))


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match="'p' must be"):
        planned(Parameter("p", "1"), given={"p": 1})


@pytest.mark.parametrize("given", [None, {}, {"p": None}], ids=repr)
def test_a_parameter_without_a_value_must_be_given_one(given: Any) -> None:
    with pytest.raises(ValueError, match=r"'p' of app 'shop' has no value.*parameter_values"):
        planned(Parameter("p"), given=given)


def test_a_named_run_wins_over_a_task() -> None:
    found = planned(Parameter("p", RunOutput("object", run_name="r", task_name="t", getter=(1, "model"))))

    assert found["p"].output == OutputRef(run_name="r", getter=(1, "model"))


def test_a_version_of_a_task_is_named_or_the_latest() -> None:
    named, latest, followed = planned(
        Parameter("a", RunOutput("object", task_name="t", task_version="v1")),
        Parameter("b", RunOutput("object", task_name="t", task_auto_version="latest")),
        Parameter("c", RunOutput("object", task_name="t", follow=True)),
    ).values()

    assert named.output == OutputRef(task_name="t", task_version="v1")
    assert latest.output == OutputRef(task_name="t", latest_version=True)
    assert followed.output == OutputRef(task_name="t", follow=True)


def test_the_current_version_is_that_of_the_task_that_serves() -> None:
    with pytest.raises(ValueError, match=r"'p'.*current.*no deployed task"):
        planned(Parameter("p", RunOutput("object", task_name="t", task_auto_version="current")))


def test_an_output_of_no_run_and_no_task_is_refused_when_its_app_is_served() -> None:
    declared = Parameter("p", RunOutput(type="string"))

    with pytest.raises(ValueError, match="'p': RunOutput needs run_name or task_name"):
        planned(declared)
    assert planned(declared, given={"p": "x"})["p"].value == "x"
