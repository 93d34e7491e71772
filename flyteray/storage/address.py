"""An address (a path or URL) opens the storage that it names."""

from __future__ import annotations

import fnmatch
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from flyteray import _place
from flyteray.storage.local import LocalStorage
from flyteray.storage.storage import Storage

_RENAMED = {"s3a": "s3", "gcs": "gs"}  # other names of the same


def open_storage(url: str | Path) -> Storage:
    """The storage at a URL.

    Args:
        url: A folder (plain path or ``file://``), or ``s3://``, ``gs://``, ``az://``, ``abfs://``, ``https://``.

    Object stores read credentials and addresses from the environment variables of each process that uses them, so
    set these where ``ray start`` is called on each node:

    - ``s3://``: ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY`` and ``AWS_REGION``, or the role of the machine or pod.
      The files in ``~/.aws`` are not read. Servers other than Amazon's: ``AWS_ENDPOINT_URL=https://host:port``, and
      ``AWS_ALLOW_HTTP=true`` for one that is ``http://``.
    - ``gs://``: ``GOOGLE_APPLICATION_CREDENTIALS``, a file's path, or the machine's service account.
    - ``az://container/…``: ``AZURE_STORAGE_ACCOUNT_NAME`` and ``AZURE_STORAGE_ACCOUNT_KEY``, or the machine's identity.

    A request that fails for the network or the server (5xx) is repeated for a minute at most.

    Raises:
        ValueError: no such kind of storage, or the URL is incomplete.
    """
    text = str(url)
    return _in_folder(text) if text.startswith("/") else _opened(text)


@functools.lru_cache(maxsize=64)
def _in_folder(path: str) -> LocalStorage:
    """The storage in a folder, which is the same for all who ask: each action of a worker does."""
    return LocalStorage(path)


def _opened(url: str) -> Storage:
    scheme, rest = _place.parse(url)
    if scheme in ("", "file"):
        return LocalStorage((unquote(rest) or "/") if scheme else rest)
    from flyteray.storage.objects import ObjectStorage  # loads obstore, which most processes never need

    return ObjectStorage(f"{_RENAMED.get(scheme, scheme)}://{rest.rstrip('/')}")


def locate_file(url: str | Path) -> tuple[Storage, str]:
    """The storage and key of a single file, given its path or URL."""
    text = str(url).rstrip("/")
    parent, separator, name = text.rpartition("/")
    if parent.endswith(":/"):
        raise ValueError(f"{text!r} names a whole bucket or host, not a file in it: add a path.")
    return open_storage(parent or separator or "."), name


def is_ignored(key: str, patterns: Sequence[str]) -> bool:
    """Whether a file, by its path in a directory, matches a pattern, as a whole or in one of its parts."""
    candidates = [key, *PurePosixPath(key).parts]
    return any(fnmatch.fnmatch(each, pattern) for each in candidates for pattern in patterns)


def file_hash(url: str) -> str:
    """A name for the content of a file."""
    storage, key = locate_file(url)
    return storage.fingerprint(key)


def directory_hash(url: str, ignore: Sequence[str] = ()) -> str:
    """A name for the content of a directory: of its files and their paths, without those ignored."""
    storage = open_storage(url)
    digest = hashlib.sha256()
    for key, fingerprint in storage.fingerprints(lambda key: not is_ignored(key, ignore)):
        digest.update(f"{key}\0{fingerprint}\n".encode())
    return f"sha256:{digest.hexdigest()}"
