from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from flyteray.errors import StorageError, StorageTakenError
from flyteray.storage import Storage, open_storage
from flyteray.storage.objects import ObjectStorage
from flyteray.storage.owner import Claim, Owner

LAPSE_S = 0.6
ANN = Owner(
    "cluster-a", "the local cluster of /home/ann", "registry-a", "sqlite:////home/ann/registry.sqlite"
)
BOB = Owner("cluster-b", "the Ray cluster at 10.0.0.1", "registry-b", "postgresql://db/flyteray")


@pytest.fixture(params=["folder", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return (
        open_storage(tmp_path) if request.param == "folder" else ObjectStorage("s3://bucket", MemoryStore())
    )


@contextmanager
def living(storage: Storage, owner: Owner) -> Iterator[None]:
    """An owner that renews its claim."""
    claim, ended = Claim(storage, owner, LAPSE_S), threading.Event()
    claim.hold()

    def renew() -> None:
        while not ended.wait(LAPSE_S / 6):
            claim.hold()

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_while_one_lives_another_is_told_who_both_are_and_what_to_do(storage: Storage) -> None:
    with living(storage, ANN), pytest.raises(StorageTakenError) as told:
        Claim(storage, BOB, LAPSE_S).hold()

    assert str(told.value) == (
        f"Storage {storage.url} is another cluster's: that of the local cluster of /home/ann, which records it in "
        "sqlite:////home/ann/registry.sqlite. This is the Ray cluster at 10.0.0.1, which records it in "
        "postgresql://db/flyteray. Name another storage with flyteray.init(storage=…) or FLYTERAY_STORAGE, use that "
        "cluster, or end it: 0.6 s later this one takes the storage over by itself."
    )


def test_when_it_has_ended_the_other_takes_the_storage_over(storage: Storage) -> None:
    with living(storage, ANN):
        pass
    began = time.monotonic()

    with living(storage, BOB):
        assert time.monotonic() - began > LAPSE_S
        with pytest.raises(StorageTakenError, match=r"This is the local cluster of /home/ann"):
            Claim(storage, ANN, LAPSE_S).hold()


@pytest.mark.parametrize("same", [BOB._replace(registry=ANN.registry), ANN._replace(registry="registry-b")])
def test_a_cluster_that_was_moved_or_lost_its_registry_goes_on_at_once(storage: Storage, same: Owner) -> None:
    assert not Claim(storage, ANN).is_held()
    Claim(storage, ANN).hold()
    assert Claim(storage, same).is_held()
    assert not Claim(storage, BOB).is_held()

    began = time.monotonic()
    Claim(storage, same).hold()

    assert time.monotonic() - began < 5  # an owner's claim lapses after 20 s


def test_what_nobody_can_read_is_told(storage: Storage) -> None:
    storage.put("owner.json", b"[[], 3]")

    with pytest.raises(StorageError, match=r"owner\.json does not say whose storage it is"):
        Claim(storage, ANN).hold()
