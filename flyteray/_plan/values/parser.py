"""A parser makes a value of what people write on a command line, as an annotation says, or of JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import importlib
import json
import math
import types
import typing
import uuid
from collections import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import is_typeddict

from flyteray._plan.values import times
from flyteray._plan.values.conversion import Conversion, Unfit, member
from flyteray._plan.values.type_hints import alternatives, fits, is_named_tuple, meant, mismatch, type_name
from flyteray.io import DataFrame, Dir
from flyteray.io.location import Location

_FILES = (".json", ".yaml", ".yml")
TRUE, FALSE = ("true", "yes", "on", "1", "t", "y"), ("false", "no", "off", "0", "f", "n")
_NONE = ("null", "none", "")
_TABLES = {
    "pandas": {f".{suffix}": f"read_{suffix}" for suffix in ("csv", "parquet", "json", "feather")},
    "polars": {".csv": "read_csv", ".parquet": "read_parquet", ".json": "read_json", ".feather": "read_ipc"},
    "pyarrow": {".csv": "csv:read_csv", ".parquet": "parquet:read_table", ".feather": "feather:read_table"},
}


class Text(str):
    """An input as it was written, for the task's annotation to say what it means where the code is."""

    __slots__ = ()


class Moment(Text):
    """A time as it is written short, such as ``2026-09`` for a month: for times it means when that begins."""

    begin: datetime.datetime

    def __new__(cls, text: str, begin: datetime.datetime) -> Moment:
        made = super().__new__(cls, text)
        made.begin = begin
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Moment, (str(self), self.begin)


@dataclasses.dataclass(frozen=True)
class FromJson:
    """An input as JSON had it, for the task's annotation as well."""

    value: Any


def read(annotation: Any, text: str, default: Any = None) -> Any:
    """The value that a text means for an annotation; :class:`Unfit` where it means none.

    Args:
        annotation: The type.
        text: The value itself, or for what is made of several values their JSON, or the path of a JSON or YAML file.
        default: An object whose fields are those that the text leaves out.
    """
    expected = meant(annotation)
    if alternatives(expected):
        return _one_of(expected, text, default)
    if expected is Any or expected is object:
        try:
            return _plain(_loads(text))
        except ValueError:
            return text
    if is_composed(expected):
        document = _document(text)
        if isinstance(document, dict) and type(default) is expected:
            names: Any = getattr(type(default), "model_fields", ())
            if dataclasses.is_dataclass(default):
                names = [field.name for field in dataclasses.fields(default) if field.init]
            document = {name: getattr(default, name) for name in names} | document
        return from_json(expected, document)
    return _leaf(expected, text)


def document_text(text: str) -> str:
    """What a JSON or YAML file holds, as JSON, where the text is the path of one; else the text."""
    if text.lower().endswith(_FILES) and Path(text).is_file():
        return json.dumps(_document(text), default=str)
    return text


def is_composed(expected: Any) -> bool:
    """Whether it is made of several values, so that it is written as JSON."""
    kind = typing.get_origin(expected) or expected
    return (
        is_typeddict(kind)
        or is_named_tuple(kind)
        or hasattr(kind, "__pydantic_validator__")
        or (hasattr(kind, "__dataclass_fields__") and not issubclass(kind, (Location, DataFrame)))
        or (isinstance(kind, type) and issubclass(kind, (list, dict, set, frozenset, tuple)))
        or kind in (typing.Any, *_ABSTRACT)
    )


_ABSTRACT: dict[type, type] = {  # what can be written of them
    **dict.fromkeys((abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable), list),
    abc.Set: set,
    **dict.fromkeys((abc.Mapping, abc.MutableMapping), dict),
}


def _one_of(expected: Any, text: str, default: Any) -> Any:
    options = alternatives(expected)
    takes_all = [option for option in options if meant(option) in (str, Path, bytes, Any)]
    if types.NoneType in options and text.lower() in _NONE and not takes_all:
        return None
    problems: list[tuple[str, str]] = []
    ordered = [option for option in options if option is not types.NoneType and option not in takes_all]
    for option in [*ordered, *takes_all]:
        try:
            return read(option, text, default)
        except Unfit as error:
            problems += error.problems
    raise Unfit(problems if len(ordered) + len(takes_all) == 1 else mismatch(expected, text))


def _leaf(expected: Any, text: str) -> Any:
    if typing.get_origin(expected) is typing.Literal:
        return _choice(expected, text)
    kind = expected if isinstance(expected, type) else object
    if issubclass(kind, enum.Enum):
        return _member(kind, text)
    if issubclass(kind, Location):
        return _located(kind, text)
    if kind is DataFrame:
        return _stored_table(text)
    if isinstance(text, Moment) and kind in (datetime.datetime, datetime.date):
        return text.begin if kind is datetime.datetime else text.begin.date()
    if kind not in _READERS:
        return _other(expected, text)
    try:
        return _READERS[kind](text)
    except (ValueError, ArithmeticError) as error:
        raise Unfit(str(error)) from error


def _reader(make: Callable[[str], Any], form: str) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return make(text)
        except (ValueError, decimal.InvalidOperation):
            raise ValueError(f"write {form}") from None

    return read


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in (*TRUE, *FALSE):
        raise ValueError("write true or false")
    return word in TRUE


def _none(text: str) -> None:
    if text.strip().lower() not in _NONE:
        raise ValueError("write null")


_READERS: dict[type, Callable[[str], Any]] = {
    int: _reader(int, "a whole number"),
    float: _reader(float, "a number"),
    bool: _bool,
    str: str,
    bytes: str.encode,
    bytearray: lambda text: bytearray(text.encode()),
    complex: _reader(lambda text: complex(text.replace(" ", "")), "a complex number such as 1+2j"),
    decimal.Decimal: _reader(lambda text: decimal.Decimal(text.strip()), "a number such as 1.10"),
    uuid.UUID: _reader(
        lambda text: uuid.UUID(text.strip()), "32 hexadecimal digits, with hyphens or without"
    ),
    Path: Path,
    types.NoneType: _none,
    datetime.datetime: times.read_datetime,
    datetime.date: times.read_date,
    datetime.time: times.read_time,
    datetime.timedelta: times.read_timedelta,
}
_BY_PLACE = (Location, DataFrame)
# JSON has no word of its own for these.
_ALSO_QUOTED = frozenset(_READERS) - {int, float, bool, str, types.NoneType}


def _choice(expected: Any, text: str) -> Any:
    options = typing.get_args(expected)
    for option in options:
        if text == (option.name if isinstance(option, enum.Enum) else option):
            return option
    for option in options:
        in_lower_case = str(option).lower() if option is None or isinstance(option, bool) else None
        if text in (str(option), in_lower_case) and not isinstance(option, str):
            return option
    raise Unfit(f"choose one of: {', '.join(str(getattr(each, 'name', each)) for each in options)}")


def _member(kind: type[enum.Enum], text: str) -> enum.Enum:
    for each in kind:
        if text not in kind.__members__ and not isinstance(each.value, str) and str(each.value) == text:
            return each
    return member(kind, text)


def _located(kind: type[Location[Any]], text: str) -> Location[Any]:
    if text.lstrip().startswith("{"):
        return from_json(kind, _document(text))  # type: ignore[no-any-return]
    if "://" in text:
        return kind(path=text)
    path = Path(text).expanduser()
    if not (path.is_dir() if issubclass(kind, Dir) else path.is_file()):
        what = "folder" if issubclass(kind, Dir) else "file"
        raise Unfit(f"there is no {what} {text!r} here")
    return kind(path=str(path.absolute()))


def _stored_table(text: str) -> DataFrame:
    if text.lstrip().startswith("{"):
        return from_json(DataFrame, _document(text))  # type: ignore[no-any-return]
    if "://" in text:
        return DataFrame(uri=text)
    path = Path(text).expanduser()
    if not path.exists():
        raise Unfit(f"there is no file and no folder {text!r} here")
    return DataFrame(uri=str(path.absolute()))


def _other(expected: Any, text: str) -> Any:
    kind = typing.get_origin(expected) or expected
    package, name = str(getattr(kind, "__module__", "")).partition(".")[0], getattr(kind, "__name__", "")
    if name in ("DataFrame", "Table") and package in _TABLES:
        return _table(package, text)
    if (package, name) == ("numpy", "ndarray"):
        return _array(text)
    module, colon, attribute = text.partition(":")
    if colon and isinstance(kind, type) and f"{module}.{attribute}".replace(".", "").isidentifier():
        return _object(expected, module, attribute)
    return _by_pydantic(expected, text)


def _table(package: str, text: str) -> Any:
    readers = _TABLES[package]
    suffix = Path(text).suffix.lower()
    if suffix not in readers:
        raise Unfit(f"write the path of a file that ends in {', '.join(readers)}")
    if "://" not in text and not Path(text).is_file():
        raise Unfit(f"there is no file {text!r} here")
    module, _, function = readers[suffix].rpartition(":")
    reader = getattr(importlib.import_module(f"{package}.{module}".rstrip(".")), function)
    try:
        return reader(text)
    except Exception as error:
        raise Unfit(f"{text!r} can't be read: {type(error).__name__}: {error}") from error


def _array(text: str) -> Any:
    import numpy as np  # deferred: whose annotation is an array has loaded it

    try:
        if text.endswith(".npy"):
            return np.load(text, allow_pickle=False)
        return np.array(_plain(_document(text)))
    except (OSError, ValueError) as error:
        raise Unfit(f"write a JSON list, or the path of an .npy file ({error})") from error


def _object(expected: Any, module: str, attribute: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Unfit(f"{module}:{attribute} can't be imported: {error}") from error
    if not fits(expected, found):
        raise Unfit(mismatch(expected, found))
    return found


def _by_pydantic(expected: Any, value: Any) -> Any:
    # Deferred: few types are left for it.
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(expected).validate_python(value)
    except ValidationError as error:
        raise Unfit([("", found["msg"]) for found in error.errors()[:1]]) from error
    except (PydanticUserError, TypeError, NameError, AttributeError):
        raise Unfit(
            f"a {type_name(expected)} can't be written here: write module:name of one, or run it from Python"
        ) from None


class _Number(float):
    """A number with a fraction as it was written, for those who count its digits."""

    text: str

    def __new__(cls, text: str) -> _Number:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


def _loads(text: str) -> Any:
    return json.loads(text, parse_float=_Number)


def _document(text: str) -> Any:
    """JSON, or what a JSON or YAML file holds."""
    file = Path(text)
    try:
        if text.lower().endswith(_FILES) and not text.lstrip().startswith(("{", "[", '"')):
            content = file.read_text()
            if file.suffix.lower() != ".json":
                import yaml  # deferred: few write YAML

                try:
                    return yaml.safe_load(content)
                except yaml.YAMLError as error:
                    raise ValueError(str(error)) from None
            return _loads(content)
        return _loads(text)
    except OSError as error:
        raise Unfit(f"the file {text!r} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise Unfit(f"it is no JSON ({error}), nor the path of a JSON or YAML file") from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Number):
        return float(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


def _json_leaf(expected: Any, value: Any) -> Any:
    if (concrete := _ABSTRACT.get(typing.get_origin(expected) or expected)) is not None:
        args = typing.get_args(expected)
        return from_json(concrete[args] if args else concrete, value)  # type: ignore[index]
    kind = expected if isinstance(expected, type) else None
    if kind is decimal.Decimal and isinstance(value, (int, float)) and not isinstance(value, bool):
        return decimal.Decimal(str(value))
    value = _plain(value)
    if kind is not None:
        if issubclass(kind, enum.Enum):
            return value if isinstance(value, kind) else member(kind, value)
        if issubclass(kind, Location) and isinstance(value, Mapping):
            if "path" not in value:
                raise Unfit([(".path", "is missing")])
            return kind(**value)
        if isinstance(value, int) and not isinstance(value, bool) and kind in (float, complex):
            return kind(value)
        if kind is complex and isinstance(value, float):
            return complex(value)
        if kind is datetime.timedelta and isinstance(value, (int, float)) and math.isfinite(value):
            return datetime.timedelta(seconds=value)
        if kind is datetime.datetime and type(value) is datetime.date:  # YAML reads one
            return datetime.datetime.combine(value, datetime.time())
    if isinstance(value, str) and kind is not None and (kind in _ALSO_QUOTED or issubclass(kind, _BY_PLACE)):
        return _leaf(expected, value)
    if fits(expected, value):
        return value
    if kind in (int, float, bool, str, types.NoneType) or typing.get_origin(expected) is typing.Literal:
        raise Unfit(mismatch(expected, value))
    if getattr(kind, "__module__", "").partition(".")[0] == "numpy" and isinstance(value, list):
        import numpy as np  # deferred: whose annotation is an array has loaded it

        return np.array(value)
    return _by_pydantic(expected, value)


from_json = Conversion(_json_leaf, keep=False, key=read)  # a value of JSON as an annotation wants it
