"""``flyteray.init``: where to run and what to remember."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from flyteray._client.bridge import Verb
from flyteray._client.session import session
from flyteray._plan.image import REFERENCES, named
from flyteray._settings import Settings, storage_place


async def _init(
    *,
    address: str | None = None,
    storage: str | None = None,
    database: str | None = None,
    images: Iterable[str] = (),
    root_dir: str | Path | None = None,
) -> None:
    """Say where to run and what to remember. Nothing is started or connected before a verb needs it.

    Args:
        address: A Ray cluster, as ``ray.init`` takes it (``"auto"``, ``"10.0.0.1:6379"``). Default: the
            ``RAY_ADDRESS`` environment variable, inside a Ray job that job's cluster, else a local cluster in the
            background.
        storage: Where bundles, outputs and files are kept: a path or a URL (``s3://bucket/prefix``). Takes effect
            when flyteray first starts on a cluster. Default: ``storage/`` under ``FLYTERAY_HOME``.
        database: SQLAlchemy URL of the registry. Takes effect as ``storage`` does. Default: an SQLite file in the
            storage root, or under ``FLYTERAY_HOME`` when storage is remote.
        images: What ``Image.from_ref_name(name)`` stands for: ``["name=uri"]``; a URI alone is that of ``"default"``.
        root_dir: The folder that code is shipped from: on the cluster all files keep their places below it. Default:
            each module is placed by its name, below the folder that it is imported from.

    Raises:
        TypeError: An option of a wrong type.
        ValueError: One of the images is a name without a URI.
        ClusterError: Another ``address`` than that of the cluster which this process has connected to.
    """
    for name, given in (("address", address), ("storage", storage), ("database", database)):
        if given is not None and not isinstance(given, str):
            raise TypeError(f"flyteray.init: {name} must be a str, got {given!r}.")
    if address:
        session().check_address(address)
    if images:
        found = named([images] if isinstance(images, str) else images)
        os.environ[REFERENCES] = ",".join(
            f"{name}={uri}" for name, uri in found.items()
        )  # workers inherit it
    settings = Settings.load()
    session().configure(
        replace(
            settings,
            address=address or settings.address,
            storage=storage_place(storage) if storage else settings.storage,
            database=database or settings.database,
            root_dir=Path(root_dir).expanduser().absolute() if root_dir else None,
        )
    )


init = Verb(_init)
