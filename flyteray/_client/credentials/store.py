"""The store of secrets and keys: a cluster's, or the database that a local cluster will find when it starts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from flyteray._client.session.session import session
from flyteray._settings import Settings

if TYPE_CHECKING:
    from flyteray._control.registry.keys import Keys
    from flyteray._control.registry.secrets import Secrets

T = TypeVar("T")


@contextlib.asynccontextmanager
async def store_of(cluster: T, local: Callable[[Settings], AbstractContextManager[T]]) -> AsyncIterator[T]:
    """The store to use: the cluster's, or with none named and none running the one that ``local`` opens."""
    if await asyncio.to_thread(session().has_cluster):
        yield cluster
    else:
        with local(session().settings) as opened:
            yield opened


@contextlib.contextmanager
def local_secrets(settings: Settings) -> Iterator[Secrets]:
    """The secrets that a local cluster of these settings uses as well."""
    # Deferred: databases and ciphers are for those who use them.
    from flyteray._control.registry.database import Database
    from flyteray._control.registry.secrets import Secrets

    with contextlib.closing(Database(settings.database_url)) as database:
        yield Secrets(database, settings.secrets_key_path, settings.secrets_key)


@contextlib.contextmanager
def local_keys(settings: Settings) -> Iterator[Keys]:
    """The keys that a local cluster of these settings uses as well."""
    # Deferred, as above.
    from flyteray._control.registry.database import Database
    from flyteray._control.registry.keys import Keys

    with contextlib.closing(Database(settings.database_url)) as database:
        yield Keys(database)
