"""Dataclasses become JSON and back, under the names that Flyte's pydantic models have for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self


class AsModel:
    """A dataclass that is read and written as a pydantic model would be."""

    def model_dump(self) -> dict[str, Any]:
        """The fields as plain values."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]  # subclasses are dataclasses

    def model_dump_json(self) -> str:
        """The fields as JSON text."""
        return json.dumps(self.model_dump())

    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self:
        """A copy with other fields; errors as in the constructor."""
        return self.model_validate({**self.model_dump(), **(update or {})})

    @classmethod
    def model_validate(cls, fields: Mapping[str, Any]) -> Self:
        """The value of these fields; errors as in the constructor."""
        return cls(**fields)

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Self:
        """The value that :meth:`model_dump_json` told of."""
        return cls.model_validate(json.loads(text))

    @classmethod
    def _core_schema(cls, fields: Any, *others: Any) -> Any:
        """The schema for pydantic: in JSON these fields, in Python a value, its fields or what the ``others`` take."""
        from pydantic_core import core_schema as schema  # whoever asks has loaded it; we don't

        from_fields = schema.no_info_after_validator_function(lambda values: cls(**values), fields)
        return schema.json_or_python_schema(
            json_schema=from_fields,
            python_schema=schema.union_schema([schema.is_instance_schema(cls), from_fields, *others]),
            serialization=schema.plain_serializer_function_ser_schema(asdict, return_schema=fields),
        )
