"""A condition is a question that a run waits for people, or other programs, to answer."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Literal

from flyteray._plan.info import Words
from flyteray._plan.spec import Spec

Kind = Literal["bool", "int", "float", "str"]
Value = bool | int | float | str
KINDS: dict[type, Kind] = {bool: "bool", int: "int", float: "float", str: "str"}
_YES, _NO = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


class ConditionInfo(Spec):
    """A condition as the registry knows it. Times are UTC; after ``deadline`` nobody can signal it any more.

    ``action`` is the action that it is, ``parent`` the one that asks. ``value`` is the answer, once ``state`` is
    ``signalled``.
    """

    run: str
    action: str
    parent: str
    name: Words
    kind: Kind
    prompt: Words = ""
    prompt_type: Literal["text", "markdown"] = "text"
    description: Words = ""
    created_at: datetime
    deadline: datetime | None = None
    state: Literal["waiting", "signalled", "timed_out", "aborted"] = "waiting"
    value: Value | None = None
    ended_at: datetime | None = None

    def ended(
        self, state: Literal["signalled", "timed_out", "aborted"], at: datetime, value: Value | None = None
    ) -> ConditionInfo:
        """The condition once it is over."""
        return self.model_copy(update={"state": state, "ended_at": at, "value": value})

    @property
    def told(self) -> str:
        """Words for what its run waits for."""
        return (
            f"waits for an answer to {self.name!r} ({self.prompt}): flyteray signal condition {self.run} {self.action} "
            f"<{self.kind}>"
        )


def answer(kind: Kind, given: object) -> Value:
    """The value that an answer means; a str is read, as one types it.

    Raises:
        TypeError: It is no value of that kind.
    """
    if kind == "str" and isinstance(given, str):
        return given
    if isinstance(given, str):
        return _read(kind, given.strip())
    if kind == "bool" and isinstance(given, bool):
        return given
    if not isinstance(given, bool):
        if kind == "int" and isinstance(given, int):
            return given
        if kind == "float" and isinstance(given, (int, float)):
            return _finite(given)
    raise _wrong(kind, given)


def _read(kind: Kind, text: str) -> Value:
    try:
        if kind == "int":
            return int(text)
        if kind == "float":
            return _finite(text)
    except ValueError:
        raise _wrong(kind, text) from None
    if kind == "bool" and text.lower() in (*_YES, *_NO):
        return text.lower() in _YES
    raise _wrong(kind, text)


def _finite(given: float | str) -> float:
    try:
        found = float(given)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise _wrong("float", given)
    return found


def _wrong(kind: Kind, given: object) -> TypeError:
    words = {"bool": "true or false", "int": "a whole number", "float": "a finite number", "str": "a text"}
    return TypeError(f"The condition asks for {words[kind]}, got {given!r}.")
