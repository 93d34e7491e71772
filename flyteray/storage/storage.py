"""A place for bytes, addressed by a URL."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flyteray.storage.copies import Copies


class State(NamedTuple):
    """The number of stored bytes, and a tag that changes whenever they do."""

    size: int
    tag: str


class Storage(ABC):
    """Bytes under keys below ``url``; keys are relative paths with ``/``.

    Get one with :func:`flyteray.storage.open_storage`. Writing is atomic: a key holds the whole old or the whole new
    bytes, whatever dies in between. Pickles as its URL, so every process opens it with credentials of its own.

    Methods raise ``FileNotFoundError`` for a missing key, ``ValueError`` for a key that leaves the storage,
    and :class:`~flyteray.errors.RuntimeSystemError` when an object store can't be reached or refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def is_local(self) -> bool:
        """Whether files lie on a disk of this machine."""
        return False

    def join(self, *parts: str) -> str:
        """The full path or URL of a key made of ``parts``."""
        return "/".join([self.url.rstrip("/"), *(part.strip("/") for part in parts if part.strip("/"))])

    def get(self, key: str) -> bytes:
        """All bytes of a key."""
        with self.reader(key) as file:
            return file.read()

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Keep bytes under a key, replacing what was there."""
        with self.writer(key) as file:
            file.write(data)

    @abstractmethod
    def make_folder(self) -> None:
        """Make the folder that ``url`` is, as private as the one that it is in; an object store has none to make."""

    def append(self, key: str, data: bytes) -> bool:
        """Add bytes at the end of what is under a key; False, and nothing is done, where that would cost much."""
        return False

    @abstractmethod
    def put_file(self, key: str, path: Path) -> None:
        """Keep a copy of a local file under a key."""

    @abstractmethod
    def get_file(self, key: str, path: Path) -> None:
        """Copy the bytes of a key to a local file, replacing it as a whole; its folder is made."""

    @abstractmethod
    def link(self, source: str, key: str) -> None:
        """Keep the bytes of a key under another one as well, replacing what was there; deleting one leaves the other.

        No bytes pass through this process where the storage can do without.
        """

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether there are bytes under a key; a folder is none."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Forget a key; a missing one is fine."""

    def delete_folder(self, prefix: str) -> None:
        """Forget the keys in a folder and the folders in it; one that is not there is fine."""
        for key in self.list(prefix):
            self.delete(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys in a folder and the folders in it, sorted."""
        yield from self.states(prefix)

    @abstractmethod
    def states(self, prefix: str = "") -> Mapping[str, State]:
        """The keys of :meth:`list`, each with a :class:`State` that changes with its content, which is not read."""

    @abstractmethod
    def state(self, key: str) -> State:
        """The size and tag of a key, which change with its content; it is not read."""

    @abstractmethod
    def fingerprint(self, key: str) -> str:
        """The name of a key's content: ``"sha256:…"`` of a local file, which is read for it; else the store's tag."""

    def fingerprints(self, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
        """The keys that are ``wanted``, sorted, each with its :meth:`fingerprint`."""
        return ((key, self.fingerprint(key)) for key in self.list() if wanted(key))

    @abstractmethod
    def local_file(self, key: str, copies: Copies) -> IO[bytes]:
        """An opened file of this machine with the bytes of a key: the file itself, or one of ``copies``.

        A copy is named by its content, so a second call downloads nothing.
        """

    @abstractmethod
    def reader(self, key: str) -> AbstractContextManager[IO[bytes]]:
        """A seekable file to read a key from."""

    @abstractmethod
    def writer(self, key: str) -> AbstractContextManager[IO[bytes]]:
        """A seekable file to write; its bytes appear under the key when the context ends without an error."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url,)


def checked(key: str, url: str) -> str:
    """The key, if it stays inside the storage at ``url``."""
    parts = key.split("/")
    if not key or key.startswith("/") or ".." in parts or "\0" in key:
        raise ValueError(f"{key!r} is not a key in storage {url}: use a relative path without '..'.")
    return key
