"""The store of secrets and of keys: a cluster's own, or the database that a local cluster will find when it starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from flyteray._actors.controller import Keys, Secrets
from flyteray._client.session.session import session
from flyteray._settings import Settings

if TYPE_CHECKING:
    from flyteray._control.registry.database import Database
    from flyteray._control.registry.secrets import Secrets as StoredSecrets


@contextlib.asynccontextmanager
async def open_secrets() -> AsyncIterator[Secrets]:
    """The secrets of the cluster; with none named and none running, those that a local cluster will find."""
    if await asyncio.to_thread(session().has_cluster):
        yield session().controller.secrets
    else:
        with local_secrets(session().settings) as secrets:
            yield secrets


@contextlib.asynccontextmanager
async def open_keys() -> AsyncIterator[Keys]:
    """The keys of the cluster; with none named and none running, those that a local cluster will find."""
    if await asyncio.to_thread(session().has_cluster):
        yield session().controller.keys
    else:
        from flyteray._control.registry import keys  # deferred: databases are for those who use them

        with _database(session().settings) as database:
            yield keys.Keys(database)


@contextlib.contextmanager
def local_secrets(settings: Settings) -> Iterator[StoredSecrets]:
    """The secrets that a local cluster of these settings uses as well."""
    from flyteray._control.registry import secrets  # deferred, as above; and so are ciphers

    with _database(settings) as database:
        yield secrets.Secrets(database, settings.secrets_key_path, settings.secrets_key)


def _database(settings: Settings) -> contextlib.closing[Database]:
    from flyteray._cluster import local  # deferred, as the next
    from flyteray._control.registry.database import Database
    from flyteray._control.registry.store import lease

    database = Database(settings.database_url)
    lease.guard_others(database, lease.Holder(*local.identity(settings)))
    return contextlib.closing(database)
