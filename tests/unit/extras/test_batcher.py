from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from flyteray.extras import BatchStats, DynamicBatcher


class Doubler:
    """Doubles numbers, and keeps which came together."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def __call__(self, batch: list[int]) -> list[int]:
        self.batches.append(batch)
        return [2 * each for each in batch]


async def results_of(batcher: DynamicBatcher[Any, Any], records: list[Any]) -> list[Any]:
    async with batcher:
        results = await batcher.submit_batch(records)
    return [result.result() for result in results]  # all there now


def test_each_record_has_its_own_result_and_batches_are_as_large_as_allowed() -> None:
    double = Doubler()

    results = asyncio.run(
        results_of(DynamicBatcher(double, max_batch_size=4, batch_timeout_s=60), [*range(10)])
    )

    assert results == [2 * each for each in range(10)]
    assert double.batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # the last by stop()


def test_a_batch_is_closed_when_its_time_is_over() -> None:
    double = Doubler()

    async def main() -> int:
        async with DynamicBatcher(double, batch_timeout_s=0.01) as batcher:
            return await (await batcher.submit(21))  # nothing else comes

    assert asyncio.run(main()) == 42


@dataclass
class Parcel:
    weight: int

    def estimate_cost(self) -> int:
        return self.weight


@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        ({}, [2, 1, 1, 1]),
        ({"min_batch_size": 3}, [3, 2]),
        ({"cost_estimator": lambda parcel: 1}, [5]),
    ],
    ids=["records tell", "never less than three", "a function tells"],
)
def test_a_batch_costs_no_more_than_the_budget(options: dict[str, Any], sizes: list[int]) -> None:
    seen = []

    async def weigh(batch: list[Parcel]) -> list[int]:
        seen.append(len(batch))
        return [each.weight for each in batch]

    batcher = DynamicBatcher(weigh, target_batch_cost=10, batch_timeout_s=60, **options)
    asyncio.run(results_of(batcher, [Parcel(each) for each in (4, 6, 7, 99, 3)]))

    assert seen == sizes


def test_costs_may_be_given_with_the_records() -> None:
    double = Doubler()

    async def main() -> None:
        batcher = DynamicBatcher(double, target_batch_cost=10, batch_timeout_s=60)
        with pytest.raises(ValueError, match="estimated_cost has 1 numbers for 2 records"):
            await batcher.submit_batch([1, 2], estimated_cost=[5])
        async with batcher:
            await batcher.submit_batch([1, 2, 3], estimated_cost=[10, 5, 5])

    asyncio.run(main())

    assert double.batches == [[1], [2, 3]]


def test_an_error_is_of_all_records_of_the_batch_and_the_next_batch_goes_on() -> None:
    async def picky(batch: list[int]) -> list[int]:
        if 1 in batch:
            raise KeyError("one")
        return batch[:1]

    async def main() -> list[Any]:
        async with DynamicBatcher(picky, max_batch_size=2, batch_timeout_s=60) as batcher:
            results = await batcher.submit_batch([1, 2, 3, 4, 5])
        return await asyncio.gather(*results, return_exceptions=True)

    one, two, three, four, five = asyncio.run(main())

    assert repr(one) == repr(two) == "KeyError('one')"
    assert "returned 1 results for 2 records" in str(three)
    assert three is four
    assert five == 5


def test_a_record_that_nobody_waits_for_any_more_does_no_harm() -> None:
    double = Doubler()

    async def main() -> int:
        async with DynamicBatcher(double, batch_timeout_s=60) as batcher:
            given_up, waited_for = await batcher.submit_batch([1, 2])
            given_up.cancel()
        return await waited_for

    assert asyncio.run(main()) == 4


def test_who_submits_waits_while_the_queue_is_full() -> None:
    async def main() -> tuple[int, int]:
        door = asyncio.Event()

        async def wait(batch: list[int]) -> list[int]:
            await door.wait()
            return batch

        batcher = DynamicBatcher(wait, max_batch_size=1, max_queue_size=1, prefetch_batches=1)
        async with batcher:
            submitting = asyncio.ensure_future(batcher.submit_batch([*range(50)]))
            await asyncio.wait({submitting}, timeout=0.05)
            held = batcher.stats.total_submitted
            door.set()
            await submitting
        return held, batcher.stats.total_completed

    held, completed = asyncio.run(main())

    assert held < 10
    assert completed == 50


def test_only_a_batcher_that_runs_takes_records_and_it_is_started_once() -> None:
    async def main() -> None:
        batcher = DynamicBatcher(Doubler())
        with pytest.raises(RuntimeError, match="DynamicBatcher is not running: use `async with`"):
            await batcher.submit(1)
        async with batcher:
            assert batcher.is_running
            with pytest.raises(RuntimeError, match="running already"):
                await batcher.start()
        assert not batcher.is_running
        await batcher.stop()  # again: nothing to do

    asyncio.run(main())


def test_another_event_loop_is_told() -> None:
    batcher = DynamicBatcher(Doubler())

    async def start() -> None:
        await batcher.start()

    async def submit() -> None:
        await batcher.submit(1)

    first = asyncio.new_event_loop()
    first.run_until_complete(start())
    with pytest.raises(RuntimeError, match="runs in another event loop: start one in each loop"):
        asyncio.run(submit())
    first.run_until_complete(batcher.stop())
    first.close()


def test_what_was_done_is_counted() -> None:
    batcher = DynamicBatcher(Doubler(), max_batch_size=4, default_cost=3, batch_timeout_s=60)

    asyncio.run(results_of(batcher, [*range(6)]))

    stats = batcher.stats
    assert (stats.total_submitted, stats.total_completed, stats.total_batches) == (6, 6, 2)
    assert (stats.total_batch_cost, stats.avg_batch_size, stats.avg_batch_cost) == (18, 3.0, 9.0)
    assert 0 < stats.utilization < 1
    assert BatchStats().utilization == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target_batch_cost": 0}, "target_batch_cost must be at least 1, got 0"),
        ({"max_queue_size": 0}, "max_queue_size must be at least 1, got 0"),
        ({"batch_timeout_s": -1}, "batch_timeout_s must not be negative, got -1"),
        ({"min_batch_size": 9, "max_batch_size": 8}, r"min_batch_size \(9\) is above max_batch_size \(8\)"),
    ],
)
def test_bad_sizes_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        DynamicBatcher(Doubler(), **options)
