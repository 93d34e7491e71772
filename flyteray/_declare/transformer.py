"""A transformer says how values of a user's type travel to tasks and back, and checks them on the way."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import typing
from typing import Any, Generic, TypeVar

from flyteray.errors import RestrictedTypeError

T = TypeVar("T")

logger = logging.getLogger(__name__)

_GROUPS = ("flyte.plugins.types", "flyteray.plugins.types")


class TypeTransformerFailedError(TypeError, AssertionError, ValueError):
    """A value does not fit its type, or can't be made to travel."""


class TypeTransformer(Generic[T]):
    """A transformer of one type; subclass it and register an instance with :class:`TypeEngine`.

    At the border of a task a value becomes what :meth:`to_literal` gives, which may be anything that pickles (a message
    of Flyte, a dict, a file's path), and on the other side what :meth:`to_python_value` makes of that.

    Args:
        name: A name for people.
        t: The type.
        enable_type_assertions: Check with :meth:`assert_type` before anything else.
    """

    def __init__(self, name: str, t: type[T], enable_type_assertions: bool = True) -> None:
        self._t = t
        self._name = name
        self._type_assertions_enabled = enable_type_assertions

    @property
    def name(self) -> str:
        """The name for people."""
        return self._name

    @property
    def python_type(self) -> type[T]:
        """The type."""
        return self._t

    @property
    def type_assertions_enabled(self) -> bool:
        """Whether values are checked with :meth:`assert_type`."""
        return self._type_assertions_enabled

    def assert_type(self, t: type[T], v: T) -> None:
        """Refuse a value that is not of the type (TypeTransformerFailedError)."""
        kind = typing.get_origin(t) or t
        if isinstance(kind, type) and not isinstance(v, kind):
            raise TypeTransformerFailedError(
                f"expected {getattr(t, '__name__', t)}, got {type(v).__name__}: {v!r}"
            )

    def get_literal_type(self, t: type[T]) -> Any:
        """The type of the travelling form, which is handed to :meth:`to_literal`."""
        raise NotImplementedError(f"{type(self).__name__} has no get_literal_type.")

    def guess_python_type(self, literal_type: Any) -> type[T]:
        """The type that a travelling form has been; ValueError where it can't be told."""
        raise ValueError(f"{type(self).__name__} can't tell a Python type from a literal type.")

    async def to_literal(self, python_val: T, python_type: type[T], expected: Any) -> Any:
        """The travelling form of a value.

        Args:
            python_val: The value.
            python_type: Its type as annotated.
            expected: What :meth:`get_literal_type` gave for the type.
        """
        raise NotImplementedError(f"{type(self).__name__} has no to_literal.")

    async def to_python_value(self, lv: Any, expected_python_type: type[T]) -> T:
        """The value that a travelling form is; the annotated type is ``expected_python_type``."""
        raise NotImplementedError(f"{type(self).__name__} has no to_python_value.")

    def to_html(self, python_val: T, expected_python_type: type[T]) -> str:
        """The value as HTML, for reports: its text."""
        from html import escape  # deferred: few values are shown

        return escape(str(python_val))

    def __repr__(self) -> str:
        return f"{self._name} transforms {self._t!r}"


class Restricted(TypeTransformer[Any]):
    """The transformer of a type that no task may have."""

    def get_literal_type(self, t: Any) -> Any:
        """Refuse the type."""
        raise RestrictedTypeError(
            f"Tasks can't take or return {getattr(t, '__name__', t)}: {self.name} is restricted "
            "(TypeEngine.register_restricted_type). Use another type."
        )


class Transformers:
    """The transformers that are registered in this process; ``changes`` counts how often there was a new one."""

    def __init__(self) -> None:
        self._by_type: dict[Any, TypeTransformer[Any]] = {}
        self._loaded = False
        self.changes = 0

    def add(self, transformer: TypeTransformer[Any], kind: Any, override: bool = False) -> None:
        """Have a transformer used for a type; ValueError where it has one, or needs none."""
        known = self._by_type.get(kind)
        if not override and (known is not None or kind in _NATIVE):
            has = f"has the transformer {known.name!r}" if known else "is one that flyteray knows by itself"
            raise ValueError(
                f"{getattr(kind, '__name__', kind)} {has}: {transformer.name!r} can't be registered for it."
            )
        self._by_type[kind] = transformer
        self.changes += 1

    def find(self, annotation: Any) -> TypeTransformer[Any] | None:
        """The transformer for an annotation: one in ``Annotated``, or the one of its type or of a base of that."""
        if typing.get_origin(annotation) is typing.Annotated:
            kind, *more = typing.get_args(annotation)
            given = [each for each in more if isinstance(each, TypeTransformer)]
            return given[0] if given else self.find(kind)
        kind = typing.get_origin(annotation) or annotation
        if not isinstance(kind, type):
            return None
        if kind.__module__ not in _PYTHONS:
            self._load()
        for base in kind.__mro__:
            if (found := self._by_type.get(base)) is not None:
                return found
        return None

    def known(self) -> list[Any]:
        """The types that have one."""
        self._load()
        return list(self._by_type)

    def _load(self) -> None:
        """Let installed packages register theirs."""
        if self._loaded:
            return
        self._loaded = True
        for group in _GROUPS:
            for plugin in importlib.metadata.entry_points(group=group):
                try:
                    register = plugin.load()
                    if callable(register):
                        register()
                except Exception as error:  # noqa: BLE001  # of a package that the program may not even use
                    logger.warning(
                        "The types of %s can't be used: %s: %s", plugin.value, type(error).__name__, error
                    )


@functools.cache
def transformers() -> Transformers:
    """The transformers of this process."""
    return Transformers()


_NATIVE = (bool, int, float, str, list, dict, tuple, type(None))
_PYTHONS = ("builtins", "typing", "collections.abc", "datetime", "decimal", "enum", "pathlib", "uuid")
