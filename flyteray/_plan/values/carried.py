"""A value on its way to another process or back: it is pickled as what it is made from, and unpickled it is itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flyteray._declare.transformer import TypeTransformer
from flyteray._machine.threads import finished
from flyteray.io.dataframe import DataFrame


class Carried:
    """A function of a module and its arguments, in place of the value that it makes of them where it arrives."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        self._make = make
        self.arguments = arguments

    def value(self) -> Any:
        """The value, made in this process."""
        return self._make(*self.arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._make, self.arguments


def by_transformer(transformer: TypeTransformer[Any], kind: Any, value: Any) -> Carried:
    """The value as its transformer has it travel; what the transformer raises is raised."""
    if transformer.type_assertions_enabled:
        transformer.assert_type(kind, value)
    expected = transformer.get_literal_type(kind)
    return Carried(_transformed, transformer, kind, finished(transformer.to_literal(value, kind, expected)))


def by_storage(table: DataFrame, kind: type) -> Carried:
    """The table as a frame of a class, which is read where it arrives."""
    return Carried(_read, table, kind)


def _transformed(transformer: TypeTransformer[Any], kind: Any, literal: Any) -> Any:
    return finished(transformer.to_python_value(literal, kind))


def _read(table: DataFrame, kind: type) -> Any:
    return table.read(kind)
