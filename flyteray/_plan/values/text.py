"""Any value becomes text or JSON, whatever it is and whatever its class does."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_LONGEST = 64 * 1024  # characters
_DEEPEST = 100  # levels of containers


def printable(text: T, longest: int = _LONGEST) -> T | str:
    """A text without lone surrogates and NUL, which are shown as escapes; what is no text is left as it is.

    Of a text longer than ``longest`` characters the middle is left out.
    """
    if not issubclass(type(text), str):
        return text
    told = str.__str__(text)  # of a subclass, the text itself
    if len(told) > longest:
        head, tail = longest * 3 // 4, longest // 4
        told = f"{told[:head]}\n[… {len(told) - head - tail:,} characters left out …]\n{told[-tail:]}"
    return told.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def safe_repr(value: object) -> str:
    """The repr of a value; where that fails, what it is and why."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  # users' __repr__ may raise anything
        return f"<{type(value).__qualname__} whose repr raises {type(error).__name__}>"


def as_json(value: Any, *, indent: int | None = None) -> str:
    """A value as JSON that every reader takes; see :func:`plain`."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """A value made of dicts with text keys, lists, text, finite numbers, true, false and None.

    What has no such form is its repr, NaN and infinity are their names, and what holds itself says so there.
    """
    return _plain(value, ())


def _plain(value: Any, around: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if type(value) is str:
        return _text(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float(value)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if type(value) is int:
        return value if value.bit_length() < 10_000 else hex(value)  # Python refuses to write more digits
    try:
        parts = _parts(value)
    except Exception:  # noqa: BLE001  # users' containers and models may raise anything
        return safe_repr(value)
    if parts is None:
        return _leaf(value)
    if id(value) in around or len(around) >= _DEEPEST:
        return f"<{type(value).__qualname__}{' that holds itself' if id(value) in around else ''}>"
    around = (*around, id(value))
    if isinstance(parts, Mapping):
        return {_key(key): _plain(each, around) for key, each in parts.items()}
    return [_plain(each, around) for each in parts]


def _parts(value: Any) -> Mapping[Any, Any] | list[Any] | None:
    """What a container holds; None: it is none."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    package = type(value).__module__.partition(".")[0]
    if package == "numpy" and hasattr(value, "tolist"):
        listed = value.tolist()
        return listed if isinstance(listed, list) else None
    if not hasattr(type(value), "model_fields"):
        return None
    try:
        dumped: dict[str, Any] = value.model_dump()
    except Exception:  # noqa: BLE001  # it may hold itself
        return {name: getattr(value, name) for name in type(value).model_fields}
    return dumped


def _text(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()  # of surrogates, which no encoding has


def _leaf(value: Any) -> Any:
    from pydantic_core import to_json  # deferred: it knows times, enums, paths and more

    if isinstance(value, Iterator):
        return safe_repr(value)  # which may have no end
    if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "item"):
        item = value.item()
        return safe_repr(value) if type(item) is type(value) else _plain(item, ())
    try:
        return json.loads(to_json(value, fallback=safe_repr, inf_nan_mode="strings", bytes_mode="base64"))
    except Exception:  # noqa: BLE001  # as above
        return safe_repr(value)


def _key(key: Any) -> str:
    if isinstance(key, str):
        return _text(str(key))
    leaf = _plain(key, ())
    return leaf if isinstance(leaf, str) else safe_repr(key) if isinstance(leaf, (list, dict)) else str(leaf)
