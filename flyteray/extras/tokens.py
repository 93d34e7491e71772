"""A batcher counts in tokens, for functions that ask a language model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from flyteray.extras.batcher import DynamicBatcher, RecordT, ResultT

_LETTERS_OF_A_TOKEN = 4  # of English text, about


@runtime_checkable
class TokenEstimator(Protocol):
    """A record that knows how many tokens it has."""

    def estimate_tokens(self) -> int:
        """The number of its tokens, about."""


@dataclass
class Prompt:
    """A text for a language model."""

    text: str

    def estimate_tokens(self) -> int:
        """The number of its tokens, about: one for four letters."""
        return len(self.text) // _LETTERS_OF_A_TOKEN + 1


class TokenBatcher(DynamicBatcher[RecordT, ResultT]):
    """A :class:`DynamicBatcher` whose costs are tokens; ``estimate_tokens()`` of a record is asked as well.

    Args:
        inference_fn: The function, as ``process_fn`` of a :class:`DynamicBatcher`, which may be given in its place.
        process_fn: The function, under the name that a :class:`DynamicBatcher` has for it.
        token_estimator: The tokens of a record; ``cost_estimator`` is another name.
        cost_estimator: See there.
        target_batch_tokens: Most tokens of a batch; ``target_batch_cost`` is another name.
        target_batch_cost: See there.
        default_token_estimate: Tokens of a record of which nothing is known; ``default_cost`` is another name.
        default_cost: See there.
        options: As of a :class:`DynamicBatcher`.

    Raises:
        TypeError: No function.
        ValueError: As of a :class:`DynamicBatcher`.
    """

    def __init__(
        self,
        inference_fn: Callable[[list[RecordT]], Awaitable[list[ResultT]]] | None = None,
        *,
        process_fn: Callable[[list[RecordT]], Awaitable[list[ResultT]]] | None = None,
        token_estimator: Callable[[RecordT], int] | None = None,
        cost_estimator: Callable[[RecordT], int] | None = None,
        target_batch_tokens: int | None = None,
        target_batch_cost: int = 32_000,
        default_token_estimate: int | None = None,
        default_cost: int = 1,
        **options: Any,
    ) -> None:
        function = inference_fn or process_fn
        if function is None:
            raise TypeError("TokenBatcher needs inference_fn, a coroutine function of a list of records.")
        super().__init__(
            function,
            cost_estimator=token_estimator or cost_estimator,
            target_batch_cost=target_batch_cost if target_batch_tokens is None else target_batch_tokens,
            default_cost=default_cost if default_token_estimate is None else default_token_estimate,
            **options,
        )

    async def submit(
        self, record: RecordT, *, estimated_tokens: int | None = None, estimated_cost: int | None = None
    ) -> asyncio.Future[ResultT]:
        """Submit a record, see :meth:`DynamicBatcher.submit`.

        Args:
            record: For the function.
            estimated_tokens: Its tokens; ``estimated_cost`` is another name.
            estimated_cost: See there.
        """
        cost = estimated_cost if estimated_tokens is None else estimated_tokens
        return await super().submit(record, estimated_cost=cost)

    def _cost_of(self, record: RecordT) -> int:
        if self._cost_estimator is None and isinstance(record, TokenEstimator):
            return record.estimate_tokens()
        return super()._cost_of(record)
