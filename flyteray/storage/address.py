"""An address (a path or URL) opens the storage that it names."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from flyteray.storage.local import LocalStorage
from flyteray.storage.storage import Storage

OBJECTS = (
    "s3",
    "s3a",
    "gs",
    "gcs",
    "az",
    "abfs",
    "abfss",
    "http",
    "https",
)  # kinds of URLs that all machines reach
_RENAMED = {"s3a": "s3", "gcs": "gs"}  # other names of the same


def open_storage(url: str | Path) -> Storage:
    """The storage at a URL.

    Args:
        url: A folder (plain path or ``file://``), or ``s3://``, ``gs://``, ``az://``, ``abfs://``, ``https://``.
            Object stores read credentials and endpoints from their usual environment variables
            (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ``GOOGLE_APPLICATION_CREDENTIALS``, …).

    Raises:
        ValueError: no such kind of storage, or the URL is incomplete.
    """
    text = str(url)
    scheme, separator, rest = text.partition("://")
    if not text:
        raise ValueError("The storage URL is empty: give a folder or a URL such as s3://bucket/path.")
    if not separator or scheme == "file":
        return LocalStorage((unquote(rest) or "/") if separator else text)
    if scheme not in OBJECTS:
        choices = ", ".join(f"{each}://" for each in ("file", *OBJECTS))
        raise ValueError(
            f"Storage {text!r} is of an unknown kind {scheme!r}: use a plain path or one of {choices}"
        )
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
