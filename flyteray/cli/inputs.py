"""A task's inputs become options of the command line, each read as its type says."""

from __future__ import annotations

import copy
import dataclasses
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from flyteray._declare.options.documentation import Documentation
from flyteray._declare.tasks.interface import MISSING, Input
from flyteray._declare.tasks.task import Task
from flyteray._plan.spec import TaskPlan
from flyteray._plan.values.conversion import Unfit
from flyteray._plan.values.parser import TRUE, Text, document_text, is_composed, read
from flyteray._plan.values.text import safe_repr
from flyteray._plan.values.type_hints import alternatives, meant, type_name
from flyteray._plan.values.type_names import type_of
from flyteray.io import DataFrame, Dir, File

_METAVARS = {bool: "true|false", int: "integer", float: "float", str: "text"}


class Inputs:
    """The inputs of a task on the command line.

    ``declared`` has them by name, in order; of type :class:`Text` what only the task's code can read. ``words`` are
    their types, and ``defaults`` the defaults of those that have one, in words. ``docs`` tell of them.
    """

    def __init__(
        self,
        declared: Mapping[str, Input],
        words: Mapping[str, str],
        defaults: Mapping[str, str],
        docs: Documentation,
    ) -> None:
        self._declared = declared
        self._spellings = {name: _spellings(name) for name in declared}
        told = docs.of_inputs
        self.options = [
            self._option(
                name,
                words[name]
                + (f" (default: {defaults[name]})" if name in defaults else "")
                + (f": {told[name]}" if name in told else ""),
            )
            for name in declared
        ]

    @property
    def names(self) -> list[str]:
        """The names of the inputs, in order."""
        return list(self._declared)

    @classmethod
    def of(cls, task: Task[..., Any]) -> Inputs:
        """The inputs of a task whose code is here."""
        declared = task.interface.inputs
        words = {name: type_name(each.type) for name, each in declared.items()}
        defaults = {name: safe_repr(each.default) for name, each in declared.items() if not each.required}
        return cls(declared, words, defaults, task.docs)

    @classmethod
    def of_deployed(cls, plan: TaskPlan) -> Inputs:
        """The inputs of a deployed task, whose types are known in words only."""
        words = {each.name: each.type for each in plan.inputs}
        defaults = {each.name: each.default for each in plan.inputs if each.default is not None}
        declared = {name: Input(type_of(kind), defaults.get(name, MISSING)) for name, kind in words.items()}
        return cls(declared, words, defaults, Documentation(plan.docs))

    def command(self, *more: click.Parameter, **settings: Any) -> click.Command:
        """A command with these inputs as options, and ``more`` that no input is written like; see click.Command.

        The callback has the values of these by :func:`flag`.
        """
        taken = {spelling for spellings in self._spellings.values() for spelling in spellings}
        free = [copy.copy(each) for each in more if not taken & {*each.opts, *each.secondary_opts}]
        for each in free:
            each.name = flag(each.name or "")
        return _Command(self, params=[*self.options, *free], **settings)

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given values, and false or None for the bools and Optionals that are required and left out."""
        left_out = {
            name: None if _takes_none(each.type) else False
            for name, each in self._declared.items()
            if each.required and name not in given and _may_be_left_out(each.type)
        }
        return {**left_out, **given}

    def rewritten(self, arguments: Sequence[str]) -> list[str]:
        """The arguments, with ``--no-flag`` as ``--flag=false``."""
        taken = {spelling for spellings in self._spellings.values() for spelling in spellings}
        negated = {
            f"--no{mark}{spelling[2:]}": spelling
            for name, each in self._declared.items()
            if _is_bool(each.type)
            for spelling in self._spellings[name]
            for mark in "-_"
        }
        return [
            f"{negated[argument]}=false" if argument in negated and argument not in taken else argument
            for argument in arguments
        ]

    def _option(self, name: str, words: str) -> click.Option:
        declared = self._declared[name]
        settings: dict[str, Any] = (
            {"is_flag": False, "flag_value": TRUE[0]} if _is_bool(declared.type) else {}
        )
        return click.RichOption(
            [name, *self._spellings[name]],
            type=Written(declared.type, declared.default),
            required=declared.required and not _may_be_left_out(declared.type),
            help=words,
            **settings,
        )


def flag(name: str) -> str:
    """The name of an option that is no input; no input is called like that."""
    return f"--{name}"


class _Command(click.RichCommand):
    def __init__(self, inputs: Inputs, **settings: Any) -> None:
        super().__init__(**settings)
        self._inputs = inputs

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self._inputs.rewritten(args))


class Written(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4 only
    """A value as its annotation says it is written; ``default`` is what it is without being given."""

    def __init__(self, annotation: Any, default: Any = MISSING) -> None:
        self._annotation = annotation
        self._default = default
        self.name = _metavar([meant(each) for each in _options(annotation) if each is not types.NoneType])

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str | None:
        """Choices as they are written; anything else in capitals, as click does it."""
        return self.name if self.name.startswith("[") else None

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value; a usage error that says what does not fit."""
        if not isinstance(value, str):
            return value
        try:
            if self._annotation is Text:
                return Text(document_text(value))
            return read(self._annotation, value, self._default)
        except Unfit as error:
            self.fail(f"{value!r} is no {type_name(self._annotation)}: {error.told('')}.", param, ctx)


def local_files_sent(value: Any) -> Any:
    """A value in which local files and folders are copies in the cluster's storage; ValueError for a missing one."""
    if isinstance(value, (File, Dir)):
        return value if "://" in value.path else type(value).from_local_sync(value.path)
    if isinstance(value, DataFrame):
        return _table_sent(value)
    if isinstance(value, dict):
        return {key: local_files_sent(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(local_files_sent, value))
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(map(local_files_sent, value))
    names = [field.name for field in dataclasses.fields(value)] if dataclasses.is_dataclass(value) else []
    names += getattr(type(value), "model_fields", ())
    held = {name: getattr(value, name) for name in names if hasattr(value, name)}
    sent = {name: local_files_sent(each) for name, each in held.items()}
    changed = {name: each for name, each in sent.items() if each is not held[name]}
    if changed:
        value = copy.copy(value)
        for name, each in changed.items():
            object.__setattr__(value, name, each)  # also where it is frozen
    return value


def _table_sent(table: DataFrame) -> DataFrame:
    if table.uri is None or "://" in table.uri:
        return table
    kind: type[File[Any] | Dir[Any]] = Dir if Path(table.uri).is_dir() else File
    return table.model_copy(update={"uri": kind.from_local_sync(table.uri).path})


def _metavar(kinds: list[Any]) -> str:
    if len(kinds) != 1:
        return "value"
    kind = kinds[0]
    if typing.get_origin(kind) is typing.Literal:
        return f"[{'|'.join(str(getattr(each, 'name', each)) for each in typing.get_args(kind))}]"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return f"[{'|'.join(kind.__members__)}]"
    if isinstance(kind, type) and issubclass(kind, (File, Dir, DataFrame, Path)):
        return "path"
    return _METAVARS.get(kind, "json|file" if kind is not Text and is_composed(kind) else "value")


def _spellings(name: str) -> list[str]:
    """``--two_words`` and ``--two-words``."""
    hyphenated = name.replace("_", "-")
    alike = hyphenated == name or hyphenated.startswith("-")
    return [f"--{name}"] if alike else [f"--{name}", f"--{hyphenated}"]


def _options(annotation: Any) -> tuple[Any, ...]:
    return alternatives(meant(annotation)) or (annotation,)


def _is_bool(annotation: Any) -> bool:
    return [meant(each) for each in _options(annotation) if each is not types.NoneType] == [bool]


def _takes_none(annotation: Any) -> bool:
    return types.NoneType in map(meant, _options(annotation))


def _may_be_left_out(annotation: Any) -> bool:
    return _is_bool(annotation) or _takes_none(annotation)
