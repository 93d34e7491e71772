"""How the command line reads inputs and prints results, without a process or a cluster."""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import pytest
import rich_click as click
from click.exceptions import Exit

import flyteray as flyte
from flyteray._plan import failure
from flyteray._plan.spec import CodeRef, EnvironmentSpec, InputSpec, TaskPlan, TaskSpec
from flyteray.cli import failures, inputs, printing
from flyteray.errors import ClusterError, RuntimeUserError
from flyteray.io import File

env = flyte.TaskEnvironment(name="cli")


class Colour(enum.Enum):
    red = 1
    blue = 2


@dataclass
class Config:
    rate: float
    tags: list[str]


@env.task
async def mixed(
    whole: int,
    config: Config,
    colour: Colour = Colour.red,
    side: Literal["left", "right"] = "left",
    maybe: int | None = None,
    with_cache: bool = False,
    where: Path = Path("/"),
    last: timedelta = timedelta(0),
    data: File | None = None,  # type: ignore[type-arg]
    CASE: str = "",
) -> None:
    """Takes all sorts."""


def parse(*arguments: str) -> dict[str, Any]:
    """What the options of a task make of a command line; options left out are left out."""
    values = inputs.Inputs.of(mixed).command(name="mixed").make_context("mixed", list(arguments)).params
    return {name: value for name, value in values.items() if value is not None}


CONFIG = ("--config", '{"rate": 0.5, "tags": ["a"]}')


def test_scalars_keep_their_type() -> None:
    assert parse("--whole", "3", *CONFIG) == {"whole": 3, "config": Config(0.5, ["a"])}


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--colour", "blue"], {"colour": Colour.blue}),
        (["--side", "right"], {"side": "right"}),
        (["--maybe", "7"], {"maybe": 7}),
        (["--with-cache"], {"with_cache": True}),
        (["--with_cache"], {"with_cache": True}),
        (["--no-with-cache"], {"with_cache": False}),
        (["--where", "/data"], {"where": Path("/data")}),
        (["--last", "PT90S"], {"last": timedelta(seconds=90)}),
        (["--CASE", "x"], {"CASE": "x"}),
    ],
)
def test_each_type_has_its_own_way_to_be_written(arguments: list[str], value: dict[str, Any]) -> None:
    assert parse("--whole", "3", *CONFIG, *arguments) == {"whole": 3, "config": Config(0.5, ["a"]), **value}


def test_json_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"rate": 1, "tags": []}')

    assert parse("--whole", "3", "--config", str(tmp_path / "config.json"))["config"] == Config(1.0, [])


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing parameter: whole"),
        (["--whole", "1.5", *CONFIG], "'1.5' is no int: write a whole number"),
        (
            ["--whole", "1", "--config", "{}"],
            r"'\{\}' is no Config: rate: is missing; tags: is missing",
        ),
        (
            ["--whole", "1", "--config", "rate"],
            "'rate' is no Config: it is no JSON .*, nor the path of a JSON or YAML file",
        ),
        (["--whole", "1", *CONFIG, "--colour", "green"], "'green' is no Colour: .*Its members: red, blue"),
    ],
)
def test_what_does_not_fit_is_a_usage_error(arguments: list[str], problem: str) -> None:
    with pytest.raises(click.UsageError, match=problem):
        parse(*arguments)


def test_help_names_types_and_defaults() -> None:
    shown = {option.name: option.help for option in inputs.Inputs.of(mixed).options}

    assert shown["whole"] == "int"
    assert shown["config"] == "Config"
    assert shown["maybe"] == "int | None (default: None)"
    assert shown["with_cache"] == "bool (default: False)"


def test_help_says_how_each_input_is_written() -> None:
    command = inputs.Inputs.of(mixed).command(name="mixed")
    ctx = command.make_context("mixed", ["--whole", "1", *CONFIG])
    forms = {option.name: option.make_metavar(ctx) for option in inputs.Inputs.of(mixed).options}

    assert forms["whole"] == "INTEGER"
    assert forms["config"] == "JSON|FILE"
    assert forms["colour"] == "[red|blue]"
    assert forms["side"] == "[left|right]"
    assert "TRUE|FALSE" in forms["with_cache"]
    assert (forms["where"], forms["data"], forms["last"]) == ("PATH", "PATH", "VALUE")


def test_json_output_is_json_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    printing.record({"outputs": [Config(0.5, ["a"]), float("nan"), object, {1, 2}]}, "json")

    outputs = json.loads(capsys.readouterr().out)["outputs"]
    assert outputs[0] == {"rate": 0.5, "tags": ["a"]}
    assert outputs[1] == "NaN"


def test_lines_in_a_pipe_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    printing.rows([{"name": "n" * 300, "phase": "[red]"}], "table", ("name", "phase"))

    header, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "PHASE"]
    assert line.split() == ["n" * 300, "[red]"]


def test_times_are_local_in_tables(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    printing.record({"at": moment}, "table")

    assert moment.astimezone().strftime("%Y-%m-%d %H:%M:%S") in capsys.readouterr().out


def test_a_flyteray_error_is_its_message_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exit) as left, failures.explained():
        raise ClusterError("No cluster at 10.0.0.1. Check [it].")

    assert left.value.exit_code == 1
    assert capsys.readouterr().err == "Error: No cluster at 10.0.0.1. Check [it].\n"


def test_an_error_from_the_cluster_shows_where_it_was_raised(capsys: pytest.CaptureFixture[str]) -> None:
    error = RuntimeUserError("KeyError", "KeyError: 'x'")
    error.__cause__ = failure.RemoteTraceback('Traceback:\n  File "train.py", line 3, in train')
    with pytest.raises(Exit), failures.explained():
        raise error

    assert capsys.readouterr().err.splitlines() == [
        "Traceback:",
        '  File "train.py", line 3, in train',
        "Error: KeyError: 'x'",
    ]


def test_usage_errors_stay_usage_errors() -> None:
    with pytest.raises(click.UsageError), failures.users_code():
        raise click.UsageError("no such thing")


def test_inputs_of_a_deployed_task_are_options_by_the_words_for_their_types() -> None:
    code = CodeRef(bundle="b", module="m", name="n")
    plan = TaskPlan(
        spec=TaskSpec(name="env.train", code=code, environment=EnvironmentSpec(), version="v1"),
        inputs=(
            InputSpec(name="rounds", type="int"),
            InputSpec(name="fast", type="bool", default="False"),
            InputSpec(name="sizes", type="list[int]", default="()"),
        ),
    )
    seen: dict[str, object] = {}
    command = inputs.Inputs.of_deployed(plan).command(name="run", callback=seen.update)

    command.main(["--rounds", "3", "--fast", "--sizes", "[1, 2]"], standalone_mode=False)

    assert seen == {"rounds": 3, "fast": True, "sizes": [1, 2]}
    with pytest.raises(click.UsageError, match="'many' is no int: write a whole number"):
        command.main(["--rounds", "many"], standalone_mode=False)
