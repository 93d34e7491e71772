from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from flyteray._client.bridge import Found
from flyteray._plan.values.stand_in import StandIn, taken, taken_async


@dataclass
class Number(StandIn):
    value: int

    def take(self) -> int:
        return self.value


def test_values_take_the_places_of_stand_ins() -> None:
    given: dict[str, Any] = {"many": [Number(2), 3], "named": {"a": Number(4), "b": [Number(5)]}, "y": "y"}

    args, kwargs = taken((Number(1), "x", (Number(6),)), given)

    assert args == (1, "x", (6,))
    assert kwargs == {"many": [2, 3], "named": {"a": 4, "b": [5]}, "y": "y"}
    assert asyncio.run(taken_async((Number(1),), {})) == ((1,), {})


def test_what_a_listing_gives_is_a_list() -> None:
    [found], _ = taken((Found([Number(1), Number(2)]),), {})

    assert (type(found), found) == (list, [1, 2])


def test_arguments_without_any_stay_the_objects_that_they_are() -> None:
    args, kwargs = ([1, 2], {"a": 3}), {"x": (4,)}

    assert taken(args, kwargs) == (args, kwargs)
    assert taken(args, kwargs)[0] is args
