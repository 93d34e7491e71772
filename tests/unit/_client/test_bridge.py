from __future__ import annotations

import asyncio
import contextvars
import signal
import threading

import pytest

from flyteray._client.bridge import ListVerb, MethodVerb, Verb, was_interrupted
from flyteray.errors import RuntimeUserError

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


async def _double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


double = Verb(_double)


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def _add(self, n: int = 1) -> int:
        self.count += n
        return self.count

    add = MethodVerb(_add)


def test_a_verb_blocks_when_called_and_is_awaited_by_aio() -> None:
    assert double(2) == 4
    assert asyncio.run(double.aio(3)) == 6


def test_a_list_is_returned_awaited_or_gone_through() -> None:
    async def _up_to(n: int) -> list[int]:
        await asyncio.sleep(0)
        return list(range(n))

    up_to = ListVerb(_up_to)

    async def main() -> list[int]:
        return [each async for each in up_to.aio(n=3)] + await up_to.aio(2)

    assert up_to(3) == [0, 1, 2]
    assert asyncio.run(main()) == [0, 1, 2, 0, 1]
    assert asyncio.run(up_to.aio(1)) == [0]


def test_the_plain_form_works_in_async_code_too() -> None:
    async def main() -> int:
        return double(4)

    assert asyncio.run(main()) == 8


def test_a_method_is_bound_to_its_instance() -> None:
    counter = Counter()

    assert counter.add() == 1
    assert asyncio.run(counter.add.aio(n=2)) == 3


def test_the_callers_context_is_seen() -> None:
    async def read() -> str:
        return colour.get()

    colour.set("green")

    assert Verb(read)() == "green"


def test_an_error_reaches_the_caller_without_our_frames_below_the_verb() -> None:
    async def fail() -> None:
        raise RuntimeUserError("Code", "told") from KeyError("why")

    with pytest.raises(RuntimeUserError, match="told") as caught:
        Verb(fail)()

    assert isinstance(caught.value.__cause__, KeyError)
    assert len(caught.traceback) == 2


def test_verbs_of_several_threads_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=60)

    async def meet() -> int:
        return await asyncio.to_thread(both.wait)

    threads = [threading.Thread(target=Verb(meet)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert both.broken is False
    assert not any(thread.is_alive() for thread in threads)


def test_a_verb_that_is_interrupted_has_its_last_words() -> None:
    begun, said = threading.Event(), list[bool]()

    async def wait_for_ever() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            said.append(was_interrupted())

    def interrupt() -> None:
        if begun.wait(60):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        Verb(wait_for_ever)()

    assert said == [True]
    assert not was_interrupted()
