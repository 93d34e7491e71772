"""The lease on a registry: one cluster has it, and of that cluster one controller, the newest, may write."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, NamedTuple, NoReturn

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from flyteray._control.registry.database import Database
from flyteray._control.registry.tables import lease
from flyteray.errors import InitializationError, RegistryTakenError, RegistryUnavailableError

LEASE_S = 15.0

logger = logging.getLogger(__name__)


class Holder(NamedTuple):
    """A cluster as others know it: ``id`` is no other cluster's, ``name`` is for people."""

    id: str
    name: str


class Lease:
    """The right to write to a registry, taken and then renewed by a thread until it is released or lost.

    Each taking begins an epoch. A later controller of the same cluster takes the lease at once, another cluster only
    when it has lapsed: the holder has not renewed it for ``lease_s`` seconds, by the database's own clock. Each
    transaction that writes checks, in itself, that the epoch is still this one's.

    Args:
        database: The registry's.
        holder: Who takes it.
        lost: Called with an explanation, in any thread, when another controller was found to have the lease.
        lease_s: How long it holds without being renewed, in seconds.

    Raises:
        InitializationError: another cluster has the lease and renews it, which takes a third of ``lease_s`` to see.
        RegistryUnavailableError: the database was away for ``lease_s``.
    """

    def __init__(
        self, database: Database, holder: Holder, lost: Callable[[str], None], lease_s: float = LEASE_S
    ) -> None:
        self._database = database
        self._holder = holder
        self._lost = lost
        self._lease_s = lease_s
        self._released = threading.Event()
        self._epoch = self._take()
        database.guard(self._check)
        self._thread = threading.Thread(target=self._renew_forever, name="flyteray-lease", daemon=True)
        self._thread.start()

    def release(self) -> None:
        """Let others take the lease at once; nothing happens where it is theirs already."""
        self._released.set()
        self._thread.join()
        try:
            self._hold(0.0)
        except (RegistryTakenError, RegistryUnavailableError) as error:
            logger.warning("The lease on the registry was not released: %s", error)

    def _take(self) -> int:
        deadline = time.monotonic() + self._lease_s
        seen: float | None = None
        lapses = math.inf
        while True:
            try:
                with self._database.write() as connection:
                    found = _found(self._database, connection)
                    if found is None or found.cluster == self._holder.id or found.rest <= 0:
                        return self._begin(connection, found)
                    if seen is not None and found.until != seen:
                        self._refuse(found)
                    # The database's clock was set back: it counts that nobody was seen to renew the lease.
                    if time.monotonic() > lapses:
                        return self._begin(connection, found)
                if seen is None:
                    seen, lapses = found.until, time.monotonic() + self._lease_s
            except IntegrityError:
                continue  # somebody else took the first lease
            except RegistryUnavailableError:
                seen, lapses = None, math.inf  # nobody can renew it either
                if time.monotonic() > deadline:
                    raise
            time.sleep(self._lease_s / 50)

    def _begin(self, connection: Connection, found: Any) -> int:
        epoch: int = found.epoch + 1 if found else 1
        row = {
            "epoch": epoch,
            "cluster": self._holder.id,
            "name": self._holder.name,
            "since": self._database.clock,
            "until": self._database.clock + self._lease_s,
        }
        connection.execute(update(lease).values(row) if found else insert(lease).values(id=1, **row))
        return epoch

    def _refuse(self, found: Any) -> NoReturn:
        raise _taken(
            f"{_whose(self._database, found)}, and has just renewed its lease. Name another database, and another "
            f"storage, with flyteray.init(database=…, storage=…), or end that cluster: {self._lease_s:g} s later this "
            "one takes the registry over by itself."
        )

    def _check(self, connection: Connection) -> None:
        # Locked, so that nobody takes the lease before this transaction has ended.
        if connection.scalar(select(lease.c.epoch).with_for_update(read=True)) != self._epoch:
            self._give_up(connection)

    def _hold(self, for_s: float) -> None:
        # Unguarded: a lock that is shared first and then is not makes a deadlock with who waits to take the lease.
        with self._database.write(guarded=False) as connection:
            until = self._database.clock + for_s
            if not connection.execute(
                update(lease).where(lease.c.epoch == self._epoch).values(until=until)
            ).rowcount:
                self._give_up(connection)

    def _give_up(self, connection: Connection) -> NoReturn:
        found = connection.execute(select(lease)).one_or_none()
        message = f"This controller writes no more to the registry {self._database.shown}: "
        if found is None:
            message += "somebody has deleted its lease."
        elif found.cluster == self._holder.id:
            message += f"a newer one of its cluster has taken over at {_at(found.since)}."
        else:
            message += f"{found.name} has taken it over at {_at(found.since)}."
        self._lost(message)
        raise RegistryTakenError(message)

    def _renew_forever(self) -> None:
        often_s, rarely_s = self._lease_s / 30, self._lease_s / 3
        pause_s = rarely_s
        while not self._released.wait(pause_s):
            try:
                self._hold(self._lease_s)
                pause_s = rarely_s
            except RegistryTakenError:
                return
            except RegistryUnavailableError as error:
                if pause_s == rarely_s:
                    logger.warning("The lease on the registry is renewed as soon as that is back: %s", error)
                pause_s = often_s


def guard_others(database: Database, holder: Holder) -> None:
    """Have what is written without the lease raise InitializationError while another cluster has it."""

    def check(connection: Connection) -> None:
        found = _found(database, connection)
        if found is not None and found.cluster != holder.id and found.rest > 0:
            raise _taken(
                f"{_whose(database, found)}. Connect to that cluster with flyteray.init(address=…), or name another "
                "database with flyteray.init(database=…)."
            )

    database.guard(check)


def _found(database: Database, connection: Connection) -> Any:
    rest = (lease.c.until - database.clock).label("rest")
    return connection.execute(select(lease, rest).with_for_update()).one_or_none()


def _whose(database: Database, found: Any) -> str:
    return f"The registry {database.shown} is another cluster's: {found.name} has it since {_at(found.since)}"


def _taken(message: str) -> InitializationError:
    return InitializationError("InitializationError", "user", message)


def _at(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
