"""A storage has one owner at a time, the cluster that records what is in it: it says so there, again and again."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from typing import NamedTuple

from flyteray.errors import StorageError, StorageTakenError
from flyteray.storage.storage import Storage

RENEW_S = 10.0
LAPSE_S = 20.0  # twice that: an owner that has not renewed its claim for so long has ended

_KEY = "owner.json"

logger = logging.getLogger(__name__)


class Owner(NamedTuple):
    """A cluster with its registry: ``cluster`` and ``registry`` are no others', the other two are for people."""

    cluster: str
    name: str
    registry: str
    database: str

    def __str__(self) -> str:
        return f"{self.name}, which records it in {self.database}"


class Claim:
    """The claim of a cluster to be the owner of a storage.

    Who has the same registry is the same owner, as after a move; so is the same cluster with another registry, as when
    that was deleted. A claim that is not renewed for ``lapse_s`` seconds by this process's clock lapses.
    """

    def __init__(self, storage: Storage, owner: Owner, lapse_s: float = LAPSE_S) -> None:
        self._storage = storage
        self._owner = owner
        self._lapse_s = lapse_s
        self._holding = threading.Lock()

    def hold(self) -> None:
        """Be the owner for now; to be called every ``RENEW_S``.

        Raises:
            StorageTakenError: another cluster renews its claim, which takes as long as that to see.
            StorageError: the storage can't be read or written.
        """
        with self._holding:
            self._wait_for_others()
            self._storage.put(_KEY, json.dumps([self._owner, uuid.uuid4().hex]).encode())

    def is_held(self) -> bool:
        """Whether the storage says that it is this owner's, as an earlier process of it may have claimed."""
        return self._storage.exists(_KEY) and self._others() is None

    def _wait_for_others(self) -> None:
        seen, lapses = None, time.monotonic() + self._lapse_s
        while (found := self._others()) is not None:
            if seen is not None and found != seen:
                raise StorageTakenError(
                    f"Storage {self._storage.url} is another cluster's: that of {found[0]}. This is "
                    f"{self._owner}. Name another storage with flyteray.init(storage=…) or FLYTERAY_STORAGE, use that "
                    f"cluster, or end it: {self._lapse_s:g} s later this one takes the storage over by itself."
                )
            seen = found
            if time.monotonic() > lapses:
                logger.warning("Storage %s is taken over from %s.", self._storage.url, found[0])
                return
            time.sleep(self._lapse_s / 50)

    def _others(self) -> tuple[Owner, str] | None:
        """The claim that is there, with what changes when it is renewed; None where it is this owner's, or none."""
        try:
            found, renewed = json.loads(self._storage.get(_KEY))
            owner = Owner(*found)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self._storage.join(_KEY)} does not say whose storage it is ({error}). Was it written by a newer "
                "flyteray? Upgrade this one, or delete that file if no cluster uses the storage."
            ) from error
        if owner.registry == self._owner.registry or owner.cluster == self._owner.cluster:
            return None
        return owner, renewed
