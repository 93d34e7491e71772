"""At the border of a task tables and values of users' types are made to fit, and to travel; see :class:`Carried`.

All else is left to :mod:`flyteray._plan.values.conversion`.
"""

from __future__ import annotations

import functools
import typing
from typing import Any

from flyteray._declare.transformer import TypeTransformerFailedError, transformers
from flyteray._plan.values import carried
from flyteray._plan.values.carried import Carried
from flyteray._plan.values.conversion import Conversion, Unfit, converted
from flyteray._plan.values.type_hints import meant, shown
from flyteray.errors import RestrictedTypeError
from flyteray.io import annotated
from flyteray.io.annotated import Table
from flyteray.io.dataframe import DataFrame
from flyteray.io.extend.handlers import handlers
from flyteray.io.frames import library, selected

_PLAIN = (bool, int, float, str)


class Border(Conversion):
    """Makes values fit annotations as ``converted`` does, tables and users' types as well.

    Args:
        travels: Leave it to the process where the value arrives to make it; else it is made here.
    """

    def __init__(self, *, travels: bool) -> None:
        super().__init__(converted, keep=False)
        self._travels = travels

    def __call__(self, expected: Any, value: Any) -> Any:
        """The value as the annotation wants it; :class:`Unfit` where it can't be."""
        if type(expected) is type and expected in _PLAIN:
            return value if type(value) is expected else converted(expected, value)
        if not _is_special(expected):
            return converted(expected, value)
        made = self._special(expected, value)
        if made is None:
            return super().__call__(expected, value)
        return made.value() if isinstance(made, Carried) and not self._travels else made

    def _special(self, expected: Any, value: Any) -> Any:
        """What becomes of a table or of a value of a user's type; None: the annotation is of another kind."""
        transformer = transformers().find(expected)
        if transformer is not None:
            kind = meant(expected)
            try:
                return carried.by_transformer(transformer, kind, value)
            except RestrictedTypeError:
                raise
            except TypeTransformerFailedError as error:
                raise Unfit(str(error)) from error
            except Exception as error:  # the user's own
                raise Unfit(f"{transformer.name} refuses it: {type(error).__name__}: {error}") from error
        try:
            wanted = annotated.table(expected)
            return None if wanted is None else _fitted(wanted, value)
        except ValueError as error:
            raise Unfit(str(error)) from error


def _fitted(wanted: Table, value: Any) -> Any:
    """A table as an annotation wants it; a frame of a wrong library does not fit."""
    kind = type(value)
    if wanted.kind is DataFrame:
        if not annotated.is_table(kind):
            raise Unfit(_mismatch(DataFrame, value))
        table = DataFrame.wrap_df(value).declared(wanted.columns, wanted.hash_method)
        goes = wanted.format if table.val is not None else ""
        if not goes and table.val is not None and handlers().handles(type(table.val)):
            goes = handlers().format(type(table.val))
        return table.stored(format=goes) if goes else table
    if isinstance(value, DataFrame):
        table = value.declared(wanted.columns, None)
        return carried.by_storage(table, wanted.kind) if table.val is None else table.read(wanted.kind)
    if not isinstance(value, wanted.kind):
        raise Unfit(_mismatch(wanted.kind, value))
    if not wanted.format and not handlers().handles(kind):
        return selected(value, None if wanted.columns is None else list(wanted.columns))
    table = DataFrame.wrap_df(value).declared(wanted.columns, None)
    return carried.by_storage(table.stored(format=wanted.format or handlers().format(kind)), wanted.kind)


def _mismatch(kind: type, value: Any) -> str:
    """Why a value is not such a table; with the library, as all of them call theirs a DataFrame."""
    given = _words(type(value)) if annotated.is_table(type(value)) else shown(value)
    return f"expected {_words(kind)}, got {given}"


def _words(kind: type) -> str:
    return f"{'flyte.io' if kind is DataFrame else library(kind) or kind.__module__}.{kind.__name__}"


def _is_special(annotation: Any) -> bool:
    changes = transformers().changes + handlers().changes
    try:
        return _has_special(annotation, changes)
    except TypeError:  # Annotated with a dict has no hash
        return _has_special.__wrapped__(annotation, changes)


@functools.lru_cache(maxsize=1024)
def _has_special(annotation: Any, changes: int) -> bool:
    """Whether a table or a user's type is in an annotation, when so many things had been registered."""
    if transformers().find(annotation) is not None:
        return True
    kind = typing.get_args(annotation)[0] if typing.get_origin(annotation) is typing.Annotated else annotation
    if isinstance(kind, type) and annotated.is_table(kind):
        return True
    stands_for = meant(annotation)
    if stands_for is not annotation:
        return _is_special(stands_for)
    return any(_is_special(part) for part in typing.get_args(stands_for) if part is not Ellipsis)


travelling = Border(travels=True)
arrived = Border(travels=False)
