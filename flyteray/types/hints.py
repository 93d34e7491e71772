"""Words for annotations: a value that is pickled whatever it is, and an object that shows values in reports."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

T = TypeVar("T", covariant=True)


class FlytePickle(Protocol[T]):
    """An annotation of any value, ``FlytePickle[Model]`` of one of a class: all values travel pickled here anyway."""


@runtime_checkable
class Renderable(Protocol):
    """An object in ``Annotated`` that shows values as HTML; see :meth:`TypeEngine.to_html`."""

    def to_html(self, python_value: Any) -> str:
        """A value as HTML."""
