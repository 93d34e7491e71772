"""A proof that two processes have one storage: a token that the one writes and the other reads, and writes beside."""

from __future__ import annotations

import contextlib
import logging
import uuid
from pathlib import Path

from flyteray.errors import StorageError
from flyteray.storage.address import open_storage
from flyteray.storage.storage import Storage

_FOLDER = "proof"

logger = logging.getLogger(__name__)


def offer(storage: Storage) -> str:
    """Write a token to the storage, to be withdrawn; StorageError where it can't be written."""
    token = uuid.uuid4().hex
    storage.put(f"{_FOLDER}/{token}", token.encode())
    return token


def withdraw(storage: Storage, token: str) -> None:
    """Delete the token, when all have answered, and the folder that it was in."""
    _delete(storage, f"{_FOLDER}/{token}")
    if storage.is_local:
        with contextlib.suppress(OSError):  # one that answers late is still at it
            Path(storage.url, _FOLDER).rmdir()


def problem_here(url: str, token: str) -> str | None:
    """Why this process does not have the storage that the token was written to, or may not write it; None: it does."""
    try:
        storage = open_storage(url)
        if storage.get(f"{_FOLDER}/{token}") != token.encode():
            return "something else is read there"
        mine = f"{_FOLDER}/{uuid.uuid4().hex}"
        storage.put(mine, b"")
    except FileNotFoundError:
        if "://" in url:
            return "another server or bucket"
        return "a folder of its own" if Path(url).is_dir() else "no such folder"
    except (StorageError, OSError, ValueError) as error:
        return str(error).rstrip(".")
    _delete(storage, mine)
    return None


def _delete(storage: Storage, key: str) -> None:
    try:
        storage.delete(key)
    except StorageError as error:  # what is kept is kept; only what is over stays as well
        logger.warning("What is over stays in storage: %s", error)
