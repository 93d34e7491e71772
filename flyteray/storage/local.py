"""Storage in a folder of this machine, or of a file system that all nodes mount."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from flyteray import _private
from flyteray.errors import StorageError
from flyteray.storage.storage import State, Storage, checked

if TYPE_CHECKING:
    from flyteray.storage.copies import Copies

UNFINISHED = ".tmp-"
_CHUNK = 1024 * 1024
_REFUSED = {
    errno.ENOSPC: "no space is left on its disk. Free some",
    errno.EDQUOT: "the quota of its disk is used up. Free some space",
    errno.EROFS: "its disk is mounted read-only. Mount it for writing",
    errno.EACCES: "the user of this process may not. Give that user the right",
    errno.EPERM: "the user of this process may not. Give that user the right",
    errno.EIO: "its disk failed. Look at the system's log",
    errno.ESTALE: "its mount is stale. Mount it again",
    errno.ENOTCONN: "its mount is not connected. Mount it again",
}
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS, errno.EACCES)

_ELSE = "or choose another folder (FLYTERAY_STORAGE for the storage's)"


class LocalStorage(Storage):
    """Keys are files below a folder, which the first write makes."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder).expanduser().absolute()
        super().__init__(str(self._folder))

    @property
    def is_local(self) -> bool:
        """Always."""
        return True

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write a file beside the target and rename it, by one call of the system each: most files are small."""
        path = self._path(key)
        with _explained(f"Storage {self.url} did not let us write {key!r}", path):
            unfinished, mode = _beside(path)
            try:
                descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
                try:
                    _write_all(descriptor, memoryview(data), unfinished)
                finally:
                    os.close(descriptor)
                os.replace(unfinished, path)
            except BaseException:
                _forget(unfinished)
                raise

    def make_folder(self) -> None:
        """Make the folder."""
        _private.folder_like_its_own(self._folder)

    def append(self, key: str, data: bytes) -> bool:
        """Write at the end of the file, and close it: other machines see the bytes of a shared disk from then on."""
        if not _is_cheap_to_append_to(self.url):
            return False
        path = f"{self.url}/{checked(key, self.url)}"
        try:
            _append(path, data)
        except OSError:
            with self._explained("write", key):
                raise
        return True

    def put_file(self, key: str, path: Path) -> None:
        """Copy a file; the copy shares no bytes with it."""
        with self._explained("write", key), replacing(self._path(key)) as unfinished:
            shutil.copyfile(path, unfinished)

    def get_file(self, key: str, path: Path) -> None:
        """Copy the file."""
        with self._explained("read", key):
            source = self.local_path(key)
        with _explained(f"{path} can't be written", path), replacing(path) as unfinished:
            shutil.copyfile(source, unfinished)

    def link(self, source: str, key: str) -> None:
        """Give the file a second name, or where its file system has no such thing copy it."""
        with self._explained("write", key):
            path, target = self.local_path(source), self._path(key)
            _private.folder_like_its_own(target.parent)
            unfinished = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
            try:
                os.link(path, unfinished)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                self.put_file(key, path)
                return
            os.replace(unfinished, target)
            unfinished.unlink(missing_ok=True)  # it stays where both names are of one file already

    def exists(self, key: str) -> bool:
        """Whether there is a file."""
        with self._explained("read", key):
            return self._path(key).is_file()

    def delete(self, key: str) -> None:
        """Remove the file."""
        with self._explained("delete", key):
            self._path(key).unlink(missing_ok=True)

    def delete_folder(self, prefix: str) -> None:
        """Remove the folder."""
        with self._explained("delete", prefix), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._path(prefix))

    def states(self, prefix: str = "") -> Mapping[str, State]:
        """The files in a folder and the folders in it, sorted."""
        folder = self._path(prefix) if prefix else self._folder
        found = {}
        for path in folder.rglob("*"):
            if not path.name.startswith(UNFINISHED) and path.is_file():
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    found[path.relative_to(self._folder).as_posix()] = _state(path)
        return dict(sorted(found.items()))

    def state(self, key: str) -> State:
        """Size, time of the last change and inode."""
        return _state(self.local_path(key))

    def fingerprint(self, key: str) -> str:
        """The SHA-256 of the file."""
        digest = hashlib.sha256()
        with self.local_path(key).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        return f"sha256:{digest.hexdigest()}"

    def local_file(self, key: str, copies: Copies) -> IO[bytes]:
        """The file itself."""
        return self.local_path(key).open("rb")

    def local_path(self, key: str) -> Path:
        """The path of a file; FileNotFoundError where there is none."""
        path = self._path(key)
        if not path.is_file():
            raise self._missing(key)
        return path

    @contextmanager
    def reader(self, key: str) -> Iterator[IO[bytes]]:
        """The opened file."""
        try:
            with self._explained("read", key):
                file = self._path(key).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise self._missing(key) from error
        with file:
            yield file

    @contextmanager
    def writer(self, key: str) -> Iterator[IO[bytes]]:
        """A file beside the target, renamed in the end."""
        with self._explained("write", key), _filling(self._path(key)) as file:
            yield file

    def _path(self, key: str) -> Path:
        return self._folder / checked(key, self.url)

    def _explained(self, verb: str, key: str) -> AbstractContextManager[None]:
        return _explained(f"Storage {self.url} did not let us {verb} {key!r}", self._path(key))

    def _missing(self, key: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"There is no file {key!r} in storage {self.url}. Was it deleted or never written?"
        )


def _state(path: Path) -> State:
    found = path.stat()
    return State(found.st_size, f"{found.st_mtime_ns} {found.st_ino}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; what is there in the end takes the place of ``path``, unless there was an error."""
    unfinished, mode = _beside(path)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
    with _taking_the_place(unfinished, path):
        yield Path(unfinished)


def _beside(path: Path) -> tuple[str, int]:
    """A new name in the folder of a path, which is made, and the mode of files there."""
    private = _private.folder_like_its_own(path.parent)
    # Not tempfile's: its mode 0600 would hide the file from other users of a folder that is shared with them.
    unfinished = f"{os.path.dirname(path)}/{UNFINISHED}{os.urandom(16).hex()}"
    return unfinished, _private.FILE if private else 0o666


@contextmanager
def _taking_the_place(unfinished: str, path: Path) -> Iterator[None]:
    try:
        yield
        os.replace(unfinished, path)
    except BaseException:
        _forget(unfinished)
        raise


def _forget(unfinished: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(unfinished)


def _append(path: str, data: bytes) -> None:
    flags = os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        private = _private.folder_like_its_own(Path(path).parent)
        descriptor = os.open(path, flags | os.O_CREAT, _private.FILE if private else 0o666)
    try:
        _write_all(descriptor, memoryview(data), path)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: memoryview, name: str) -> None:
    left = data.cast("B")
    while left.nbytes:
        try:
            left = left[os.write(descriptor, left) :]
        except OSError as error:
            error.filename = name  # as of a file that is opened by its name
            raise


@functools.cache
def _is_cheap_to_append_to(folder: str) -> bool:
    """Whether a folder is no mounted object store: there an append writes the whole file anew, if it is let."""
    import psutil  # deferred: programs that only declare need none of it

    mounts = {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}
    above = [str(path) for path in (Path(folder), *Path(folder).parents) if str(path) in mounts]
    return not (above and mounts[above[0]].startswith("fuse"))


def rooms(root: Path, *names: str) -> None:
    """Make folders in a storage's folder as :func:`flyteray._private.rooms` does, or raise StorageError."""
    for name in names:
        with _explained(f"Storage {root} can't be made ready", root / name):
            _private.rooms(root, name)
    if not os.access(root, os.W_OK):
        problem = _REFUSED[errno.EROFS if os.statvfs(root).f_flag & os.ST_RDONLY else errno.EACCES]
        raise StorageError(f"Storage {root} can't be written: {problem}, {_ELSE}.")


@contextmanager
def downloading(path: Path) -> Iterator[IO[bytes]]:
    """A file to write to that takes the place of ``path`` in the end, unless there was an error."""
    with _explained(f"{path} can't be written", path), _filling(path) as file:
        yield file


@contextmanager
def _filling(path: Path) -> Iterator[IO[bytes]]:
    unfinished, mode = _beside(path)

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_EXCL, mode)

    with (
        _taking_the_place(unfinished, path),
        io.BufferedWriter(_NamedInErrors(unfinished, "wb", opener=opener)) as file,
    ):
        yield cast("IO[bytes]", file)


class _NamedInErrors(io.FileIO):
    """A file whose name is in the errors of its writing, so that they are told from those of other files."""

    def write(self, data: Any) -> int | None:  # type: ignore[override]  # a position-only name
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.name
            raise


@contextmanager
def _explained(what: str, path: Path) -> Iterator[None]:
    """Raise StorageError for what the disk of ``path`` refuses; errors of other files pass."""
    try:
        yield
    except OSError as error:
        named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if name]
        if error.errno not in _REFUSED or not any(_is_near(path, name) for name in named):
            raise
        raise StorageError(f"{what}: {_REFUSED[error.errno]}, {_ELSE}.") from error


def _is_near(path: Path, named: Path) -> bool:
    """Whether it is the path, an unfinished one beside it, or a folder above."""
    return named.parent == path.parent or path.is_relative_to(named)
