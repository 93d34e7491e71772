"""A batcher gathers records of many callers, and hands them to one function together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from typing_extensions import Self

RecordT = TypeVar("RecordT")
ResultT = TypeVar("ResultT")


@runtime_checkable
class CostEstimator(Protocol):
    """A record that knows its own cost."""

    def estimate_cost(self) -> int:
        """The cost, in the unit of ``target_batch_cost``."""


@dataclass
class BatchStats:
    """What a batcher has done since it was made.

    Args:
        total_submitted: Records taken in.
        total_completed: Records whose results, or errors, are there.
        total_batches: Batches processed.
        total_batch_cost: The cost of all these batches.
        avg_batch_size: Records of a batch, on average.
        avg_batch_cost: The cost of a batch, on average.
        busy_time_s: Seconds spent in the function.
        idle_time_s: Seconds spent waiting for a batch.
    """

    total_submitted: int = 0
    total_completed: int = 0
    total_batches: int = 0
    total_batch_cost: int = 0
    avg_batch_size: float = 0.0
    avg_batch_cost: float = 0.0
    busy_time_s: float = 0.0
    idle_time_s: float = 0.0

    @property
    def utilization(self) -> float:
        """The share of its time, from 0 to 1, that the function was busy."""
        spent = self.busy_time_s + self.idle_time_s
        return self.busy_time_s / spent if spent else 0.0

    def _count(self, size: int, cost: int, seconds: float) -> None:
        self.total_completed += size
        self.total_batches += 1
        self.total_batch_cost += cost
        self.busy_time_s += seconds
        self.avg_batch_size = self.total_completed / self.total_batches
        self.avg_batch_cost = self.total_batch_cost / self.total_batches


@dataclass(frozen=True)
class _Submitted(Generic[RecordT, ResultT]):
    record: RecordT
    cost: int
    result: asyncio.Future[ResultT]


class DynamicBatcher(Generic[RecordT, ResultT]):
    """Batches of records that many coroutines of one event loop submit, as costly as a budget allows.

    Use it as ``async with DynamicBatcher(process) as batcher``, or with :meth:`start` and :meth:`stop`.

    Args:
        process_fn: Coroutine function of a list of records; returns a list of their results in the same order.
        cost_estimator: The cost of a record. Without it the record's ``estimate_cost()``, else ``default_cost``.
        target_batch_cost: A batch costs at most this, unless a single record or ``min_batch_size`` records cost more.
        max_batch_size: Most records of a batch.
        min_batch_size: A batch of fewer records is not closed for its cost.
        batch_timeout_s: Seconds after its first record in which a batch is closed as it is.
        max_queue_size: Records that may wait to be batched; then :meth:`submit` waits.
        prefetch_batches: Batches that may wait for the function.
        default_cost: Cost of a record of which nothing else is known.

    Raises:
        ValueError: A size that is less than 1, a negative timeout, or ``min_batch_size`` above ``max_batch_size``.
    """

    def __init__(
        self,
        process_fn: Callable[[list[RecordT]], Awaitable[list[ResultT]]],
        *,
        cost_estimator: Callable[[RecordT], int] | None = None,
        target_batch_cost: int = 32_000,
        max_batch_size: int = 256,
        min_batch_size: int = 1,
        batch_timeout_s: float = 0.05,
        max_queue_size: int = 5_000,
        prefetch_batches: int = 2,
        default_cost: int = 1,
    ) -> None:
        sizes = {
            "target_batch_cost": target_batch_cost,
            "max_batch_size": max_batch_size,
            "min_batch_size": min_batch_size,
            "max_queue_size": max_queue_size,
            "prefetch_batches": prefetch_batches,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size!r}.")
        if batch_timeout_s < 0:
            raise ValueError(f"batch_timeout_s must not be negative, got {batch_timeout_s!r}.")
        if min_batch_size > max_batch_size:
            raise ValueError(f"min_batch_size ({min_batch_size}) is above max_batch_size ({max_batch_size}).")
        self._process = process_fn
        self._cost_estimator = cost_estimator
        self._budget, self._default_cost = target_batch_cost, default_cost
        self._most, self._least, self._patience = max_batch_size, min_batch_size, batch_timeout_s
        self._queue_size, self._prefetch = max_queue_size, prefetch_batches
        self._stats = BatchStats()
        self._work: asyncio.Future[Any] | None = None
        self._submitted: asyncio.Queue[_Submitted[RecordT, ResultT] | None]
        self._batches: asyncio.Queue[list[_Submitted[RecordT, ResultT]] | None]

    @property
    def stats(self) -> BatchStats:
        """What has been done so far."""
        return self._stats

    @property
    def is_running(self) -> bool:
        """Whether records may be submitted."""
        return self._work is not None

    async def start(self) -> None:
        """Begin to take records; RuntimeError: it has begun already."""
        if self._work is not None:
            raise RuntimeError(f"This {type(self).__name__} is running already.")
        self._submitted = asyncio.Queue(self._queue_size)
        self._batches = asyncio.Queue(self._prefetch)
        self._work = asyncio.gather(self._gather(), self._run())

    async def stop(self) -> None:
        """Take no more records, and wait until all that were submitted have their results."""
        if (work := self._work) is not None:
            self._work = None
            await self._submitted.put(None)
            await work

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def submit(self, record: RecordT, *, estimated_cost: int | None = None) -> asyncio.Future[ResultT]:
        """Submit a record; waits while too many do. The future that is returned has its result, or the error.

        Args:
            record: For the function.
            estimated_cost: Its cost, where it is known better than by the estimators.

        Raises:
            RuntimeError: It is not running, or in another event loop.
        """
        if self._work is None:
            raise RuntimeError(
                f"This {type(self).__name__} is not running: use `async with`, or call start() first."
            )
        loop = asyncio.get_running_loop()
        if loop is not self._work.get_loop():
            raise RuntimeError(
                f"This {type(self).__name__} runs in another event loop: start one in each loop."
            )
        result: asyncio.Future[ResultT] = loop.create_future()
        cost = self._cost_of(record) if estimated_cost is None else estimated_cost
        await self._submitted.put(_Submitted(record, cost, result))
        self._stats.total_submitted += 1
        return result

    async def submit_batch(
        self, records: Sequence[RecordT], *, estimated_cost: Sequence[int] | None = None
    ) -> list[asyncio.Future[ResultT]]:
        """Submit several records, and return a future for each.

        Args:
            records: For the function; it may get them in several batches.
            estimated_cost: The cost of each of them.

        Raises:
            ValueError: There are not as many costs as records.
        """
        if estimated_cost is not None and len(estimated_cost) != len(records):
            raise ValueError(f"estimated_cost has {len(estimated_cost)} numbers for {len(records)} records.")
        costs = estimated_cost if estimated_cost is not None else [None] * len(records)
        return [
            await self.submit(record, estimated_cost=cost)
            for record, cost in zip(records, costs, strict=True)
        ]

    def _cost_of(self, record: RecordT) -> int:
        if self._cost_estimator is not None:
            return self._cost_estimator(record)
        return record.estimate_cost() if isinstance(record, CostEstimator) else self._default_cost

    async def _gather(self) -> None:
        """Make batches of what is submitted, until the end is."""
        loop = asyncio.get_running_loop()
        batch: list[_Submitted[RecordT, ResultT]] = []
        closes = 0.0
        coming = asyncio.ensure_future(self._submitted.get())
        while True:
            # Not wait_for: what it cancels at the last moment is lost.
            await asyncio.wait({coming}, timeout=max(closes - loop.time(), 0) if batch else None)
            if not coming.done():
                await self._batches.put(batch)
                batch = []
                continue
            one = coming.result()
            if one is None:
                break
            coming = asyncio.ensure_future(self._submitted.get())
            if len(batch) >= self._least and _cost(batch) + one.cost > self._budget:
                await self._batches.put(batch)
                batch = []
            if not batch:
                closes = loop.time() + self._patience
            batch.append(one)
            if len(batch) >= self._most:
                await self._batches.put(batch)
                batch = []
        if batch:
            await self._batches.put(batch)
        await self._batches.put(None)

    async def _run(self) -> None:
        """Give the batches to the function, one after the other."""
        while True:
            since = time.monotonic()
            batch = await self._batches.get()
            begun = time.monotonic()
            self._stats.idle_time_s += begun - since
            if batch is None:
                return
            try:
                results = await self._process([one.record for one in batch])
                if len(results) != len(batch):
                    raise RuntimeError(
                        f"The function returned {len(results)} results for {len(batch)} records; it must return one "
                        "for each, in their order."
                    )
            except Exception as error:  # noqa: BLE001 # whoever waits gets it
                for one in batch:
                    if not one.result.done():
                        one.result.set_exception(error)
            else:
                for one, result in zip(batch, results, strict=True):
                    if not one.result.done():  # whoever waited may have given up
                        one.result.set_result(result)
            self._stats._count(len(batch), _cost(batch), time.monotonic() - begun)


def _cost(batch: Sequence[_Submitted[Any, Any]]) -> int:
    return sum(one.cost for one in batch)
