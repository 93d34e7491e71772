"""Types become JSON Schemas of their values, for forms, agents and other programs."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, Literal, Union

from flyteray._declare.tasks import hints

_LEAVES: dict[type, dict[str, str]] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number", "format": "float"},
    str: {"type": "string"},
    bytes: {"type": "string", "format": "binary"},
    datetime.datetime: {"type": "string", "format": "datetime"},
    datetime.date: {"type": "string", "format": "datetime"},
    datetime.timedelta: {"type": "string", "format": "duration"},
    types.NoneType: {"type": "null"},
}
_OF_VALUES = {bool: "boolean", int: "integer", float: "number", str: "string", types.NoneType: "null"}


def of_type(kind: Any, inside: tuple[type, ...] = ()) -> dict[str, Any]:
    """The schema of a type; an empty one, which anything fits, for types that JSON has no form for.

    An Optional is as what it may be besides None. A class that holds itself, which ``inside`` tells, is any object.
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return of_type(parts[0], inside)
    if origin in (Union, types.UnionType):
        some = [part for part in parts if part is not types.NoneType]
        if len(some) == 1:
            return of_type(some[0], inside)
        titled = [{**of_type(part, inside), "title": getattr(part, "__name__", str(part))} for part in some]
        return {"oneOf": titled, "format": "union"}
    if origin is Literal:
        return _choice(parts)
    cls = origin or kind
    if not isinstance(cls, type):
        return {}
    if cls in _LEAVES:
        return dict(_LEAVES[cls])
    if issubclass(cls, enum.Enum):
        return {"type": "string", "enum": [member.name for member in cls]}
    if issubclass(cls, tuple):
        return _tuple(cls, parts, inside)
    if dataclasses.is_dataclass(cls) or typing.is_typeddict(cls) or hasattr(cls, "model_json_schema"):
        return {"type": "object"} if cls in inside else _composed(cls, (*inside, cls))
    if issubclass(cls, Mapping):
        return {"type": "object", **({"additionalProperties": of_type(parts[1], inside)} if parts else {})}
    if issubclass(cls, Collection):
        return {"type": "array", **({"items": of_type(parts[0], inside)} if parts else {})}
    return {}


def _choice(values: tuple[Any, ...]) -> dict[str, Any]:
    kinds = {_OF_VALUES.get(type(value)) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {**({"type": kind} if kind else {}), "enum": list(values)}


def _tuple(cls: type, parts: tuple[Any, ...], inside: tuple[type, ...]) -> dict[str, Any]:
    if hasattr(cls, "_fields"):
        kinds = hints.of_fields(cls)
        parts = tuple(kinds.get(name, Any) for name in cls._fields)
    if parts[-1:] == (...,):
        return {"type": "array", "items": of_type(parts[0], inside)}
    if not parts:
        return {"type": "array"}
    each = [of_type(part, inside) for part in parts]
    return {"type": "array", "prefixItems": each, "minItems": len(each), "maxItems": len(each)}


def _composed(cls: Any, inside: tuple[type, ...]) -> dict[str, Any]:
    if hasattr(cls, "model_json_schema"):
        schema: dict[str, Any] = cls.model_json_schema()
        whole: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}), ())
        return whole
    kinds = hints.of_fields(cls)
    if typing.is_typeddict(cls):
        properties = {name: of_type(kind, inside) for name, kind in kinds.items()}
        required = [name for name in kinds if name in cls.__required_keys__]
    else:
        fields = [field for field in dataclasses.fields(cls) if field.init]
        properties = {field.name: of_type(kinds[field.name], inside) for field in fields}
        for field in fields:
            if field.default is None or type(field.default) in _OF_VALUES:
                properties[field.name]["default"] = field.default
        missing = dataclasses.MISSING
        required = [
            field.name for field in fields if field.default is missing and field.default_factory is missing
        ]
    return {
        "type": "object",
        "title": cls.__name__,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _inlined(schema: Any, named: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """A schema whose references to others by name are these themselves."""
    if isinstance(schema, list):
        return [_inlined(each, named, inside) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        name = reference.rpartition("/")[2]
        if name in inside:
            return {"type": "object"}
        return _inlined(named.get(name, {}), named, (*inside, name)) | {
            key: value for key, value in schema.items() if key != "$ref"
        }
    return {key: _inlined(value, named, inside) for key, value in schema.items()}
