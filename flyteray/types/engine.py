"""The type engine has the transformers of users' types, and makes values travel by them as tasks do."""

from __future__ import annotations

import typing
from collections.abc import KeysView
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol, TypeVar, runtime_checkable

from flyteray._declare.transformer import (
    Restricted,
    TypeTransformer,
    TypeTransformerFailedError,
    transformers,
)
from flyteray._plan.values.conversion import Unfit, converted
from flyteray._plan.values.type_hints import meant, type_name

T = TypeVar("T")
PickledT = TypeVar("PickledT", covariant=True)


class FlytePickle(Protocol[PickledT]):
    """An annotation of any value, ``FlytePickle[Model]`` of one of a class: all values travel pickled here anyway."""


@runtime_checkable
class Renderable(Protocol):
    """An object in ``Annotated`` that shows values as HTML; see :meth:`TypeEngine.to_html`."""

    def to_html(self, python_value: Any) -> str:
        """A value as HTML."""


@dataclass(frozen=True)
class Pickled:
    """The literal type of a type that has no transformer: its values travel as they are."""

    python_type: Any


class Native(TypeTransformer[Any]):
    """The transformer of all types that need none: a value is checked, and travels as it is."""

    def __init__(self, annotation: Any) -> None:
        super().__init__(type_name(annotation), meant(annotation), enable_type_assertions=False)
        self._annotation = annotation

    def get_literal_type(self, t: Any) -> Pickled:
        """A word for the type."""
        return Pickled(t)

    def guess_python_type(self, literal_type: Any) -> Any:
        """The type that the word is for."""
        return literal_type.python_type

    async def to_literal(self, python_val: Any, python_type: Any, expected: Any) -> Any:
        """The value, if it fits."""
        return _fitted(python_type, python_val)

    async def to_python_value(self, lv: Any, expected_python_type: Any) -> Any:
        """The value, if it fits."""
        return _fitted(expected_python_type, lv)


class TypeEngine:
    """The registry of transformers. A type without one travels as Ray carries it: pickled, arrays without a copy.

    Installed packages register theirs through entry points of the group ``flyte.plugins.types`` or
    ``flyteray.plugins.types``: functions that are called before a type is looked for that Python does not bring.
    """

    @classmethod
    def register(cls, transformer: TypeTransformer[Any], additional_types: list[Any] | None = None) -> None:
        """Have a transformer used for its type, and for more types; ValueError where one of them has one."""
        for kind in (transformer.python_type, *(additional_types or ())):
            transformers().add(transformer, kind)

    @classmethod
    def register_additional_type(
        cls, transformer: TypeTransformer[Any], additional_type: Any, override: bool = False
    ) -> None:
        """Have a transformer used for one more type; one that has one keeps it unless ``override`` is given."""
        if override or additional_type not in transformers().known():
            transformers().add(transformer, additional_type, override=override)

    @classmethod
    def register_restricted_type(cls, name: str, type: Any) -> None:
        """Let no task take or return a type: calls of those that do raise RestrictedTypeError."""
        transformers().add(Restricted(name, type), type)

    @classmethod
    def get_transformer(cls, python_type: Any) -> TypeTransformer[Any]:
        """The transformer of a type; one that checks and changes nothing where none is registered."""
        return transformers().find(python_type) or Native(python_type)

    @classmethod
    def get_available_transformers(cls) -> KeysView[Any]:
        """The types that have a transformer."""
        return dict.fromkeys(transformers().known()).keys()

    @classmethod
    def to_literal_type(cls, python_type: Any) -> Any:
        """The literal type of a type, as its transformer has it."""
        return cls.get_transformer(python_type).get_literal_type(python_type)

    @classmethod
    async def to_literal(cls, python_val: Any, python_type: Any, expected: Any = None) -> Any:
        """The travelling form of a value.

        Args:
            python_val: The value.
            python_type: Its type.
            expected: What :meth:`to_literal_type` gave; asked for by default.

        Raises:
            TypeTransformerFailedError: the value does not fit.
        """
        transformer = cls.get_transformer(python_type)
        kind = meant(python_type)
        if transformer.type_assertions_enabled:
            transformer.assert_type(kind, python_val)
        expected = transformer.get_literal_type(kind) if expected is None else expected
        return await transformer.to_literal(python_val, kind, expected)

    @classmethod
    async def to_python_value(cls, lv: Any, expected_python_type: Any) -> Any:
        """The value that a travelling form is; TypeTransformerFailedError where it fits no such type."""
        return await cls.get_transformer(expected_python_type).to_python_value(
            lv, meant(expected_python_type)
        )

    @classmethod
    def guess_python_type(cls, flyte_type: Any) -> Any:
        """The type of a literal type: the first transformer decides that knows it; ValueError where none does."""
        if isinstance(flyte_type, Pickled):
            return flyte_type.python_type
        for kind in transformers().known():
            transformer = cls.get_transformer(kind)
            try:
                return transformer.guess_python_type(flyte_type)
            except ValueError:
                continue
        raise ValueError(f"No transformer knows the literal type {flyte_type!r}.")

    @classmethod
    def to_html(cls, python_val: Any, expected_python_type: Any) -> str:
        """A value as HTML: by a :class:`Renderable` in its annotation, by its transformer, or else its text."""
        if typing.get_origin(expected_python_type) is typing.Annotated:
            for each in typing.get_args(expected_python_type)[1:]:
                if isinstance(each, Renderable):
                    return each.to_html(python_val)
        transformer = transformers().find(expected_python_type)
        if transformer is not None:
            return transformer.to_html(python_val, meant(expected_python_type))
        return escape(str(python_val))


def _fitted(annotation: Any, value: Any) -> Any:
    try:
        return converted(annotation, value)
    except Unfit as error:
        raise TypeTransformerFailedError(error.told("")) from error
