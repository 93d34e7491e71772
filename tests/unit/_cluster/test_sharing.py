from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from flyteray._cluster.sharing import SharedStorage
from flyteray.errors import StorageTakenError
from flyteray.storage import open_storage, owner
from flyteray.storage.owner import Claim, Owner
from tests.waiting import eventually

HERE = Owner("here", "this cluster", "registry-here", "sqlite:////here")
THERE = Owner("there", "that cluster", "registry-there", "sqlite:////there")


async def all_ended() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def test_a_controller_that_comes_back_renews_the_claim_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "RENEW_S", 0.05)
    storage = open_storage(tmp_path)
    shared = SharedStorage(storage, Claim(storage, HERE))
    Claim(storage, HERE).hold()
    before = storage.get("owner.json")

    async def renewed() -> None:
        holding = asyncio.ensure_future(shared.hold_on())
        await asyncio.to_thread(eventually, lambda: storage.get("owner.json") != before)
        holding.cancel()
        await asyncio.wait([holding])

    asyncio.run(renewed())


def test_everybody_is_told_that_another_cluster_has_taken_the_storage_over_until_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, "RENEW_S", 0.05)
    storage = open_storage(tmp_path)
    shared = SharedStorage(storage, Claim(storage, HERE, lapse_s=0.5))
    shared._has_asked = True  # nodes have proved that they have it
    another = Claim(storage, THERE)
    another.hold()
    loop = asyncio.new_event_loop()
    lives, ended = threading.Event(), threading.Event()

    def live() -> None:
        while not ended.wait(0.05):
            another.hold()
            lives.set()

    def told() -> BaseException | None:
        return asyncio.run_coroutine_threadsafe(shared.prove(), loop).exception(10)

    threads = [threading.Thread(target=live), threading.Thread(target=loop.run_forever)]
    for thread in threads:
        thread.start()
    assert lives.wait(10)
    holding = asyncio.run_coroutine_threadsafe(shared.hold_on(), loop)
    try:
        error = eventually(told)
        ended.set()
        eventually(lambda: told() is None)
    finally:
        ended.set()
        holding.cancel()
        asyncio.run_coroutine_threadsafe(all_ended(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        for thread in threads:
            thread.join()
        loop.close()
    assert isinstance(error, StorageTakenError)
    assert "is another cluster's: that of that cluster, which records it in sqlite:////there" in str(error)
