"""Storage in an object store: S3, Google Cloud, Azure, or what a web server offers for reading."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import from_url

from flyteray.errors import StorageError
from flyteray.storage import refusals
from flyteray.storage.copies import Copies
from flyteray.storage.local import downloading
from flyteray.storage.storage import State, Storage, checked

_CHUNK = 16 * 1024 * 1024
_READ_AHEAD = 1024 * 1024
_COPIED_AT_ONCE = 5 * 1024**3  # bytes; S3 copies no larger object
# Connections that fail and answers of 5xx are repeated, after pauses that double.
_RETRIES: dict[str, Any] = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
}


class ObjectStorage(Storage):
    """Keys are objects below the URL's path.

    Args:
        url: Where it is.
        store: What to talk to instead of the store at ``url``.
    """

    def __init__(self, url: str, store: Any = None) -> None:
        super().__init__(url)
        try:
            self._store = _open(url) if store is None else store
        except (BaseError, ValueError) as error:
            problem = str(error).partition("\n")[0]
            raise ValueError(
                f"Storage {url!r} can't be opened: {problem}. Check the URL and the environment variables that this "
                "kind of storage is configured with."
            ) from None

    def make_folder(self) -> None:
        """Nothing: keys need no folder."""

    def put_file(self, key: str, path: Path) -> None:
        """Upload a file, in parts if it is large."""
        if not path.is_file():
            raise FileNotFoundError(f"There is no file {path} to write to {self.join(key)}.")
        with self._explained("write", key):
            obstore.put(self._store, checked(key, self.url), path)

    def get_file(self, key: str, path: Path) -> None:
        """Download the object."""
        with downloading(path) as file:
            for chunk in self._chunks(key):
                file.write(chunk)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Upload bytes."""
        with self._explained("write", key):
            obstore.put(self._store, checked(key, self.url), data)

    def link(self, source: str, key: str) -> None:
        """Have the store copy the object; one that it takes for too large is read and written."""
        if self._head(source)["size"] <= _COPIED_AT_ONCE:
            with self._explained("write", key):
                obstore.copy(self._store, checked(source, self.url), checked(key, self.url))
            return
        with tempfile.TemporaryDirectory(prefix="flyteray-") as folder:
            self.get_file(source, Path(folder) / "whole")
            self.put_file(key, Path(folder) / "whole")

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        try:
            self._head(key)
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove the object."""
        try:
            with self._explained("delete", key):
                obstore.delete(self._store, checked(key, self.url))
        except FileNotFoundError:
            pass

    def states(self, prefix: str = "") -> Mapping[str, State]:
        """The objects below a prefix, sorted."""
        return {key: _state(meta) for key, meta in self._metas(prefix).items()}

    def state(self, key: str) -> State:
        """Size, the store's tag and the time of the last change."""
        return _state(self._head(key))

    def fingerprint(self, key: str) -> str:
        """The store's tag where it has one."""
        return _fingerprint(self._head(key))

    def fingerprints(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """The fingerprints of many keys, in one question."""
        return ((key, _fingerprint(meta)) for key, meta in self._metas("").items() if wanted(key))

    def local_file(self, key: str, copies: Copies) -> IO[bytes]:
        """A copy, downloaded unless this version of the object is among the copies already."""
        head = self._head(key)
        version = f"{self.url} {key} {head['size']} {head['e_tag']} {head['last_modified']}"
        name = hashlib.sha256(version.encode()).hexdigest()[:24]
        return copies.open(name, head["size"], lambda path: self.get_file(key, path))

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        """A file that fetches what is read."""
        if self.url.startswith("http"):  # not every web server can send a part of a file
            with tempfile.TemporaryDirectory(prefix="flyteray-") as folder:
                self.get_file(key, Path(folder) / "whole")
                with (Path(folder) / "whole").open("rb") as whole:
                    yield whole
            return
        with self._explained("read", key):
            source = obstore.open_reader(self._store, checked(key, self.url))
        with io.BufferedReader(_Object(source, lambda: self._explained("read", key)), _READ_AHEAD) as file:
            yield file

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """A temporary file, uploaded in the end."""
        checked(key, self.url)
        with tempfile.NamedTemporaryFile(prefix="flyteray-") as file:
            yield cast("IO[bytes]", file)
            file.flush()
            self.put_file(key, Path(file.name))

    def _chunks(self, key: str) -> Iterator[Any]:
        with self._explained("read", key):
            chunks = iter(obstore.get(self._store, checked(key, self.url)).stream(min_chunk_size=_CHUNK))
        while True:
            with self._explained("read", key):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _metas(self, prefix: str) -> dict[str, Any]:
        folder = checked(prefix, self.url).rstrip("/") if prefix else None
        with self._explained("list", prefix):
            found = {each["path"]: each for batch in obstore.list(self._store, folder) for each in batch}
        return dict(sorted(found.items()))

    def _head(self, key: str) -> Any:
        with self._explained("read", key):
            return obstore.head(self._store, checked(key, self.url))

    @contextmanager
    def _explained(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if verb == "write" or refusals.is_of_bucket(error):
                raise refusals.explained(self.url, verb, key, error) from None
            raise FileNotFoundError(
                f"There is no object {key!r} in storage {self.url}. Was it deleted or never written?"
            ) from None
        except BaseError as error:
            raise refusals.explained(self.url, verb, key, error) from None
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # of Rust, which exports no class of it
                raise
            raise StorageError(
                f"Storage {self.url} did not let us {verb} {key!r}: its client can't use the address that it is "
                f"configured with ({error}). Check AWS_ENDPOINT_URL and its like: they begin with https://."
            ) from None


def _state(meta: Any) -> State:
    return State(meta["size"], f"{meta['e_tag']} {meta['last_modified']}")


def _fingerprint(meta: Any) -> str:
    state = _state(meta)
    return f"etag:{meta['e_tag']}" if meta["e_tag"] else f"state:{state.size} {state.tag}"


def _open(url: str) -> Any:
    plain = url.startswith("http://")  # the user's own choice, so not to be refused
    options: dict[str, Any] = {"client_options": {"allow_http": True}} if plain else {}
    return from_url(url, retry_config=_RETRIES, **options)  # other options of clients are the environment's


class _Object(io.RawIOBase):
    """obstore's reader as a file of Python's: it has no ``readinto`` and returns buffers of its own type."""

    def __init__(self, source: Any, explained: Callable[[], AbstractContextManager[None]]) -> None:
        self._source = source
        self._explained = explained

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._explained():
            data = memoryview(self._source.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._source.seek(offset, whence))

    def tell(self) -> int:
        return int(self._source.tell())
