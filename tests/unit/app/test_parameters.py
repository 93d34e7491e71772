from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flyteray._declare.this_cluster import Cluster, this_process
from flyteray.app import AppEndpoint, Parameter, RunOutput, get_parameter
from flyteray.errors import InitializationError
from flyteray.io import Dir, File


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "string"),
        ("text", "string"),
        (File(path="a"), "file"),
        (Dir(path="a"), "directory"),
        (AppEndpoint("other"), "app_endpoint"),
        (RunOutput(type="object", run_name="r"), "object"),
        (RunOutput(type=File, run_name="r"), "file"),
    ],
    ids=["nothing", "str", "file", "dir", "endpoint", "object output", "file output"],
)
def test_the_value_tells_what_the_app_is_given(value: Any, kind: str) -> None:
    assert Parameter("p", value).kind == kind


def test_the_type_wins_over_the_value() -> None:
    assert Parameter("p", "s3://bucket/model.bin", type="file").kind == "file"


def test_an_app_is_given_by_its_address_also_as_text() -> None:
    assert Parameter("p", AppEndpoint("other"), type="string").kind == "app_endpoint"
    assert Parameter("p", File(path="s3://bucket/a"), type="string").kind == "string"
    assert Parameter("p", RunOutput(type="object", run_name="r"), type="directory").kind == "directory"


@pytest.mark.parametrize(
    ("value", "wrong", "right"),
    [
        (File(path="a"), "object", "file or string"),
        (File(path="a"), "directory", "file or string"),
        (Dir(path="a"), "file", "directory or string"),
        (AppEndpoint("other"), "file", "app_endpoint or string"),
        ("text", "object", "string or file or directory or app_endpoint"),
    ],
    ids=str,
)
def test_a_type_that_the_value_can_not_be_is_refused(value: Any, wrong: Any, right: str) -> None:
    with pytest.raises(ValueError, match=f"'p' is of type '{wrong}', which .*can't be: its type is {right}"):
        Parameter("p", value, type=wrong)


@pytest.mark.parametrize("value", [1, 1.5, True, ["a"], {"a": 1}, b"a"], ids=repr)
def test_other_values_are_refused_with_the_way_out(value: Any) -> None:
    with pytest.raises(TypeError, match=r"Parameter 'p' must be .*str\(\.\.\.\)"):
        Parameter("p", value)


@pytest.mark.parametrize("env_var", ["", "1A", "A-B", "A B", "A\n"], ids=repr)
def test_a_bad_environment_variable_is_refused(env_var: str) -> None:
    with pytest.raises(ValueError, match="environment variable"):
        Parameter("p", "x", env_var=env_var)


def test_a_bad_type_is_refused() -> None:
    with pytest.raises(ValueError, match="'number'"):
        Parameter("p", type="number")  # type: ignore[arg-type]


def test_patterns_are_a_list_and_not_text() -> None:
    assert Parameter("p", ignore_patterns=["*.tmp"]).ignore_patterns == ["*.tmp"]


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("ignore_patterns", "*.tmp"),
        ("ignore_patterns", [3]),
        ("env_var", 3),
        ("mount", 3),
        ("download", "no"),
    ],
)
def test_options_of_a_wrong_type_are_refused(option: str, wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"'p': {option} must be"):
        Parameter("p", **{option: wrong})


def test_a_parameter_without_a_name_is_the_first_input() -> None:
    assert Parameter(None).name == "i0"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "kind"),
    [(str, "string"), (File, "file"), (Dir, "directory"), (AppEndpoint, "app_endpoint"), (object, "object")],
)
def test_an_output_may_be_typed_by_its_class(given: type, kind: str) -> None:
    assert RunOutput(type=given, run_name="r").type == kind


@pytest.mark.parametrize("given", ["model", int, None, 3], ids=repr)
def test_an_output_of_another_type_is_refused(given: Any) -> None:
    with pytest.raises(ValueError, match="RunOutput type"):
        RunOutput(type=given, run_name="r")


def test_the_first_output_is_taken_by_default() -> None:
    assert RunOutput(type="string", run_name="r").getter == (0,)
    assert RunOutput(type="string", run_name="r", getter=[1, "model"]).getter == (1, "model")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"getter": "model"}, {"getter": (1.5,)}, {"run_name": 3}, {"task_name": len}], ids=str
)
def test_an_output_of_odd_source_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="RunOutput"):
        RunOutput(type="string", **wrong)


@pytest.mark.parametrize("source", [{}, {"run_name": "r", "task_name": "t"}], ids=["neither", "both"])
def test_an_output_of_no_source_or_two_is_judged_when_it_is_used(source: dict[str, Any]) -> None:
    assert RunOutput(type="string", **source).getter == (0,)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"task_name": "t", "task_auto_version": "newest"}, "task_auto_version.*'newest'"),
        ({"task_name": "t", "task_version": "1", "task_auto_version": "latest"}, "not both"),
        ({"run_name": "r", "follow": True}, "give task_name, and no run_name"),
        ({"run_name": "r", "task_name": "t", "follow": True}, "give task_name, and no run_name"),
        ({"follow": True}, "give task_name"),
    ],
    ids=str,
)
def test_versions_and_following_that_mean_nothing_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunOutput(type="string", **wrong)


def test_a_run_is_named_not_given() -> None:
    class Handle:
        name = "r1"

    with pytest.raises(TypeError, match="run_name='r1'"):
        RunOutput(type="string", run_name=Handle())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "source",
    [
        RunOutput(type=File, task_name="t", task_version="v", getter=(1, "model"), follow=True),
        RunOutput(type="object", run_name="r"),
        AppEndpoint("other", public=True),
    ],
    ids=["followed", "run", "endpoint"],
)
def test_sources_travel_as_json(source: Any) -> None:
    assert type(source).model_validate_json(source.model_dump_json()) == source
    assert type(source).model_validate(source.model_dump()) == source


@pytest.mark.parametrize("name", ["", "Not A Name", "a_b", 3], ids=repr)
def test_an_endpoint_needs_an_app(name: Any) -> None:
    with pytest.raises(ValueError, match="name of an app"):
        AppEndpoint(name)


def test_outside_apps_there_are_no_parameters() -> None:
    with pytest.raises(ValueError, match="Parameters are not mounted"):
        get_parameter("p")


def test_a_child_process_of_an_app_reads_parameters_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "parameters.json"
    file.write_text(json.dumps({"p": "x"}))
    monkeypatch.setenv("flyte-parameters.json", str(file))

    assert get_parameter("p") == "x"
    with pytest.raises(KeyError, match="'q'"):
        get_parameter("q")


def test_parameters_are_values() -> None:
    one, other = (Parameter("p", RunOutput(type="object", run_name="r")) for _ in range(2))

    assert one == other


def test_an_output_is_read_from_the_cluster_that_init_names(monkeypatch: pytest.MonkeyPatch) -> None:
    output = RunOutput("string", task_name="env.train", getter=(1,))
    monkeypatch.setattr(this_process(), "cluster", Cluster())
    with pytest.raises(InitializationError, match=r"env\.train.*flyteray\.init"):
        asyncio.run(output.materialize())

    class Named(Cluster):
        async def read_output(self, output: RunOutput) -> str:
            return f"output {output.getter[0]} of {output.task_name}"

    monkeypatch.setattr(this_process(), "cluster", Named())

    assert asyncio.run(output.materialize()) == "output 1 of env.train"


def test_an_endpoint_is_looked_up_by_the_app_only() -> None:
    endpoint = AppEndpoint("embed")

    assert asyncio.run(endpoint.materialize()) is endpoint
