"""How many entries of an access log are asked for is checked before anything is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flyteray._client.apps.access import entries


@pytest.mark.parametrize(
    ("count", "error", "words"),
    [
        (0, ValueError, "at least 1, got 0"),
        ("5", TypeError, "a whole number of entries, got '5'"),
        (True, TypeError, "got True"),
    ],
)
def test_what_is_no_number_of_entries_is_refused(count: Any, error: type[Exception], words: str) -> None:
    async def first() -> str:
        return await anext(entries("shop", count, follow=False))

    with pytest.raises(error, match=words):
        asyncio.run(first())
