"""A task's inputs as options of the command line, each with its type."""

from __future__ import annotations

import enum
import types
import typing
from pathlib import Path
from typing import Any

import rich_click as click
from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError

from flyteray._declare.interface import MISSING, Input
from flyteray._declare.task import Task
from flyteray._plan.inputs import type_name
from flyteray._plan.spec import TaskPlan

_WORDS: dict[str, Any] = {"bool": bool, "float": float, "int": int, "str": str}
_PLAIN: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, str: click.STRING}


def options(task: Task[..., Any]) -> list[click.Option]:
    """An option for each input, in the order of the function."""
    return [_option(name, declared) for name, declared in task.interface.inputs.items()]


def options_of_deployed(plan: TaskPlan) -> list[click.Option]:
    """The same of a deployed task, whose types are known in words only: what is no plain type is given as JSON."""
    return [
        _named_option(
            declared.name,
            _WORDS.get(declared.type, Any),
            required=declared.default is None,
            text=declared.type + ("" if declared.default is None else f" (default: {declared.default})"),
        )
        for declared in plan.inputs
    ]


class Json(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A value of any type that pydantic can read from JSON, given as text or as the path of a JSON file."""

    name = "json"

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, checked; a usage error that says what does not fit."""
        text = str(value)
        file = Path(text)
        if text.endswith(".json") and file.is_file():
            text = file.read_text()
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(self._annotation)
        except PydanticSchemaGenerationError:
            self.fail(
                f"a {type_name(self._annotation)} can't be given on the command line: run it from Python.",
                param,
                ctx,
            )
        try:
            return adapter.validate_json(text)
        except ValidationError as not_json:
            if any(problem["type"] == "json_invalid" for problem in not_json.errors()):
                return self._as_text(adapter, text, not_json, param, ctx)
            self.fail(_problems(not_json, text, self._annotation), param, ctx)

    def _as_text(
        self,
        adapter: TypeAdapter[Any],
        text: str,
        not_json: ValidationError,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """Dates, paths, ``str | None``, files: what people write without quotes."""
        try:
            return adapter.validate_python(text)
        except ValidationError:
            self.fail(_problems(not_json, text, self._annotation), param, ctx)


class Member(click.Choice[str]):
    """A member of an enum by its name."""

    def __init__(self, members: type[enum.Enum]) -> None:
        super().__init__([member.name for member in members])
        self._members = members

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The member."""
        return value if isinstance(value, enum.Enum) else self._members[super().convert(value, param, ctx)]


def _option(name: str, declared: Input) -> click.Option:
    text = type_name(declared.type) + ("" if declared.required else f" (default: {declared.default!r})")
    return _named_option(name, _without_none(declared.type), required=declared.required, text=text)


def _named_option(name: str, annotation: Any, *, required: bool, text: str) -> click.Option:
    spellings = dict.fromkeys([name, name.replace("_", "-")])
    settings: dict[str, Any] = {"required": required, "help": text}
    if annotation is bool:
        declaration = [f"--{spelling}/--no-{spelling}" for spelling in spellings]
        return click.RichOption([name, *declaration], default=None, **settings)
    return click.RichOption(
        [name, *(f"--{spelling}" for spelling in spellings)], type=_type(annotation), **settings
    )


def _type(annotation: Any) -> click.ParamType[Any]:
    if annotation in (MISSING, Any):
        return Json(Any)
    if plain := _PLAIN.get(annotation) if isinstance(annotation, type) else None:
        return plain
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return Member(annotation)
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
    if choices and all(isinstance(choice, str) for choice in choices):
        return click.Choice(list(choices))
    return Json(annotation)


def _without_none(annotation: Any) -> Any:
    """``T`` for ``T | None``: None is what leaving the option out says, where that is the default."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        options = [option for option in typing.get_args(annotation) if option is not types.NoneType]
        if len(options) == 1:
            return options[0]
    return annotation


def _problems(error: ValidationError, text: str, annotation: Any) -> str:
    found = error.errors()[0]
    where = "".join(f"[{step!r}]" for step in found["loc"])
    return f"{text!r} is no {type_name(annotation)}: {where + ': ' if where else ''}{found['msg']}. Give it as JSON."
