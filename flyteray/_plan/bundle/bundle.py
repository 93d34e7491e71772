"""A bundle is the user's code as a content-addressed zip: it is packed here and becomes importable elsewhere."""

from __future__ import annotations

import functools
import hashlib
import io
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flyteray import _private
from flyteray._plan.bundle import alias, sources
from flyteray.errors import CodeBundleError

OWN = ".flyteray"  # what flyteray itself puts into a bundle
AS_FLYTE = f"{OWN}/as_flyte"  # its code says `import flyte` and means flyteray
LARGEST = 256 << 20  # bytes

PATHS = f"{OWN}/paths"  # its folders that modules are imported from, one a line
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's own zero: times would make equal code hash differently


@dataclass(frozen=True)
class Bundle:
    """Source files and their hash; equal sources give equal bytes.

    ``digest`` is empty where nothing is shipped; ``contents`` is None where the cluster has the bundle for certain.
    """

    digest: str
    contents: Mapping[str, Path | bytes] | None = field(default=None, repr=False, compare=False)

    @property
    def data(self) -> bytes:
        """The zip; CodeBundleError where a file has changed since the digest was taken."""
        contents = self.contents or {}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(contents.items()):
                entry = zipfile.ZipInfo(name, _EPOCH)
                if isinstance(content, bytes):
                    data, mode = content, 0o444
                else:
                    data = sources.read(content)
                    mode = 0o555 if sources.state(content).executable else 0o444
                entry.external_attr = mode << 16
                archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
        if pack(contents).digest != self.digest:
            raise CodeBundleError("The code changed while it was being shipped: try again.")
        return buffer.getvalue()


def pack(contents: Mapping[str, Path | bytes], paths: Iterable[str] = ()) -> Bundle:
    """A bundle of files (or their bytes) by their names in it; nothing gives the empty bundle.

    ``paths`` are its folders that modules are imported from; by default the bundle itself. CodeBundleError where it is
    larger than 256 MiB, or a file can't be read.
    """
    listed = "\n".join(paths)
    if listed not in ("", "."):
        contents = {**contents, PATHS: listed.encode()}
    if not contents:
        return Bundle("", {})
    digest = hashlib.sha256()
    total = 0
    for name, content in sorted(contents.items()):
        total += _size(content)
        if total > LARGEST:
            raise _too_large(contents)
        if isinstance(content, bytes):
            known, executable = hashlib.sha256(content).hexdigest(), False
        else:
            state = sources.state(content)
            known, executable = sources.content_hash(state), state.executable
        digest.update(f"{name}\0{known}\0{executable}\n".encode())
    return Bundle(digest.hexdigest()[:16], contents)


def activate(digest: str, fetch: Callable[[], bytes], cache: Path) -> Path:
    """Make a bundle importable in this process; unpacked once per ``cache``. Returns its folder.

    Its files can only be read, so that a task does not change by accident what others of its node run. ``cache`` is a
    folder of this node, shared by its processes; ``fetch`` gives the bundle's bytes where that lacks it.
    """
    folder = cache / digest
    if not folder.is_dir():
        _private.folder(cache)
        with tempfile.TemporaryDirectory(dir=cache) as fresh:
            target = Path(fresh, "code")
            _unpack(fetch(), target)
            try:
                os.rename(target, folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster, with the same content
                    raise
    if (folder / AS_FLYTE).is_file():
        alias.install()
    listed = folder / PATHS
    paths = listed.read_text().split("\n") if listed.is_file() else ["."]
    wanted = [os.path.normpath(folder / path) for path in paths]
    sys.path[:0] = [path for path in wanted if path not in sys.path]
    active()[digest] = folder
    return folder


def bundle_key(digest: str) -> str:
    """Where in storage a bundle is."""
    return f"bundles/{digest}.zip"


def cache_folder() -> Path:
    """Where this node unpacks bundles: inside the cluster's own folder where it has one."""
    return Path(os.environ.get("FLYTERAY_CACHE", tempfile.gettempdir()), f"flyteray-bundles-{os.getuid()}")


@functools.cache
def active() -> dict[str, Path]:
    """The bundles that this process runs code from, with their folders."""
    return {}


def paths() -> list[str]:
    """The folders of active bundles that this process imports from."""
    folders = [os.path.join(folder, "") for folder in active().values()]
    return [path for path in sys.path if any(os.path.join(path, "").startswith(each) for each in folders)]


def _unpack(data: bytes, target: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(target)
        for entry in archive.infolist():
            os.chmod(target / entry.filename, (entry.external_attr >> 16) & 0o500)
    for folder, _, _ in os.walk(target):
        os.chmod(folder, _private.FOLDER)


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else sources.state(content).size


def _too_large(contents: Mapping[str, Path | bytes]) -> CodeBundleError:
    sizes = {name: _size(content) for name, content in contents.items()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    named = ", ".join(f"{name} ({_mebibytes(size)})" for name, size in largest)
    return CodeBundleError(
        f"The code to ship is {_mebibytes(sum(sizes.values()))} in {len(sizes)} files; at most {_mebibytes(LARGEST)} "
        f"can be shipped. The largest are {named}. Name what is not needed in a .flyteignore, give a root_dir further "
        "down, or hand data over as a File or Dir."
    )


def _mebibytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
