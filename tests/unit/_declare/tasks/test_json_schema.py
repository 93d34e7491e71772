"""What a task's inputs look like in JSON."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import jsonschema
import pydantic
import pytest

from flyteray import TaskEnvironment
from flyteray._declare.tasks.json_schema import of_type
from flyteray.io import Dir, File


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Pair(NamedTuple):
    left: int
    right: str


class Needed(TypedDict):
    depth: int


class Options(Needed, total=False):
    name: str


@dataclass
class Node:
    value: int
    colour: Colour = Colour.RED
    name: str = "root"
    children: list[Node] = field(default_factory=list)


class Inner(pydantic.BaseModel):
    size: int


class Outer(pydantic.BaseModel):
    inner: Inner
    source: File[Any] | None = None
    again: Outer | None = None


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (bool, {"type": "boolean"}),
        (int, {"type": "integer"}),
        (float, {"type": "number", "format": "float"}),
        (str, {"type": "string"}),
        (datetime.datetime, {"type": "string", "format": "datetime"}),
        (datetime.timedelta, {"type": "string", "format": "duration"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (list, {"type": "array"}),
        (set[str], {"type": "array", "items": {"type": "string"}}),
        (dict[str, bool], {"type": "object", "additionalProperties": {"type": "boolean"}}),
        (dict, {"type": "object"}),
        (int | None, {"type": "integer"}),
        (Annotated[str, "a note"], {"type": "string"}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal[1, "b"], {"enum": [1, "b"]}),
        (Colour, {"type": "string", "enum": ["RED", "BLUE"]}),
        (
            int | str,
            {
                "oneOf": [{"type": "integer", "title": "int"}, {"type": "string", "title": "str"}],
                "format": "union",
            },
        ),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            Pair,
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (Any, {}),
        (Callable[[], int], {}),
    ],
    ids=str,
)
def test_a_type_has_the_schema_of_its_json(kind: Any, schema: dict[str, Any]) -> None:
    assert of_type(kind) == schema


def test_classes_of_fields_are_objects_and_one_that_holds_itself_has_an_end() -> None:
    assert of_type(Options) == {
        "type": "object",
        "title": "Options",
        "properties": {"depth": {"type": "integer"}, "name": {"type": "string"}},
        "required": ["depth"],
        "additionalProperties": False,
    }
    node = of_type(Node)
    assert node["required"] == ["value"]
    assert node["properties"]["name"] == {"type": "string", "default": "root"}
    assert node["properties"]["children"] == {"type": "array", "items": {"type": "object"}}


def test_models_are_in_one_piece_without_references() -> None:
    schema = of_type(Outer)

    assert "$ref" not in str(schema)
    assert schema["properties"]["inner"]["properties"]["size"]["type"] == "integer"
    jsonschema.validate({"inner": {"size": 1}, "again": {"inner": {"size": 2}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"inner": {"size": "large"}}, schema)


@pytest.mark.parametrize("kind", [File, File[bytes], Dir], ids=["File", "File[bytes]", "Dir"])
def test_a_file_is_an_object_with_a_path(kind: Any) -> None:
    jsonschema.validate({"path": "s3://bucket/key"}, of_type(kind))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({}, of_type(kind))


def test_a_task_tells_its_inputs_as_one_object() -> None:
    @TaskEnvironment("a").task
    def train(rows: int, name: str = "x", *, colour: Colour | None = None) -> None: ...

    @TaskEnvironment("a").task
    def nothing() -> None: ...

    assert train.json_schema == {
        "type": "object",
        "properties": {
            "rows": {"type": "integer"},
            "name": {"type": "string"},
            "colour": {"type": "string", "enum": ["RED", "BLUE"]},
        },
        "required": ["rows"],
    }
    assert train.native_interface.json_schema == train.json_schema
    assert nothing.json_schema == {"type": "object", "properties": {}, "required": []}


def test_what_docs_tell_of_an_input_is_its_description() -> None:
    @TaskEnvironment("described").task
    def described(rounds: int, rate: float = 0.5) -> None:
        """Train.

        Args:
            rounds: How often it sees the data.
        """

    properties = described.json_schema["properties"]

    assert properties["rounds"] == {"type": "integer", "description": "How often it sees the data."}
    assert "description" not in properties["rate"]
