"""What files and directories hold: which files count, and a name for all of it."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath

from flyteray.storage import locate_file, open_storage


def is_ignored(key: str, patterns: Sequence[str]) -> bool:
    """Whether a file, by its path in a directory, matches a pattern, as a whole or in one of its parts."""
    candidates = [key, *PurePosixPath(key).parts]
    return any(fnmatch.fnmatch(each, pattern) for each in candidates for pattern in patterns)


def file_hash(url: str) -> str:
    """A name for the content of a file; errors as of :class:`Storage`."""
    storage, key = locate_file(url)
    return storage.fingerprint(key)


def directory_hash(url: str, ignore: Sequence[str] = ()) -> str:
    """A name for the content of a directory: of its files and their paths, without those ignored."""
    storage = open_storage(url)
    digest = hashlib.sha256()
    for key, fingerprint in storage.fingerprints(lambda key: not is_ignored(key, ignore)):
        digest.update(f"{key}\0{fingerprint}\n".encode())
    return f"sha256:{digest.hexdigest()}"
