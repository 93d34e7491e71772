from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flyteray.extras import Prompt, TokenBatcher


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [2, 2]),  # each has 11 tokens
        ({"token_estimator": lambda prompt: 22}, [1, 1, 1, 1]),
        ({"target_batch_cost": 44, "target_batch_tokens": None}, [4]),
    ],
    ids=["prompts tell", "a function tells", "the other name"],
)
def test_a_batch_has_no_more_tokens_than_it_may(options: dict[str, Any], sizes: list[int]) -> None:
    seen = []

    async def answer(prompts: list[Prompt]) -> list[str]:
        seen.append(len(prompts))
        return [prompt.text.upper() for prompt in prompts]

    async def main() -> list[str]:
        given = {"target_batch_tokens": 30, "batch_timeout_s": 60} | options
        async with TokenBatcher(inference_fn=answer, **given) as batcher:
            answers = await batcher.submit_batch([Prompt("a" * 40)] * 4)
        return [answer.result() for answer in answers]

    assert asyncio.run(main()) == ["A" * 40] * 4
    assert seen == sizes


def test_tokens_that_are_given_come_first_and_what_has_none_costs_the_default() -> None:
    seen = []

    async def length(texts: list[str]) -> list[int]:
        seen.append(len(texts))
        return [len(text) for text in texts]

    async def main() -> None:
        options: dict[str, Any] = {
            "target_batch_tokens": 10,
            "default_token_estimate": 5,
            "batch_timeout_s": 60,
        }
        async with TokenBatcher(process_fn=length, **options) as batcher:
            await batcher.submit("known", estimated_tokens=10)
            await batcher.submit("a")
            await batcher.submit("b")

    asyncio.run(main())

    assert seen == [1, 2]


def test_a_batcher_without_a_function_is_refused() -> None:
    with pytest.raises(TypeError, match="TokenBatcher needs inference_fn"):
        TokenBatcher()
