"""Files and folders are uploaded into a cluster's storage by hand; what is there already is not sent again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path

from flyteray._client.bridge import Verb, not_while_loading
from flyteray._client.session.session import session
from flyteray._declare.environment import without_meaning
from flyteray.storage import Storage, open_storage

_UPLOADS = "uploads"
_PIECE = 2**20  # bytes
_SHORT = 32  # characters of a digest, which tell all contents apart


@not_while_loading("remote.upload_file")
async def _upload_file(
    fp: str | Path, verify: bool = True, fname: str | None = None, content_type: str | None = None
) -> tuple[str, str]:
    """Upload a file into the cluster's storage, where every node can read it.

    It lies at a place that follows from its content and name: equal files are there once.

    Args:
        fp: The file.
        verify, content_type: Of Flyte's own service: they mean nothing here, and say so.
        fname: The last part of its path there. Default: the file's own name.

    Returns:
        The MD5 digest in hexadecimal, and the path or URL, as for ``File.from_existing_remote``.

    Raises:
        ValueError: There is no such file, or ``fname`` is more than a name.
        StorageError: The storage can't be written.
    """
    _say_what_means_nothing("upload_file", {"verify": not verify, "content_type": content_type})
    path = Path(fp).expanduser()
    if not path.is_file():
        raise ValueError(f"File not found: {fp}. Give the path of an existing file.")
    name = path.absolute().name if fname is None else fname
    if not name or Path(name).name != name:
        raise ValueError(f"fname must be the name of a file without its folders, got {fname!r}.")

    def put() -> tuple[str, str]:
        storage, md5, content = _storage(), hashlib.md5(usedforsecurity=False), hashlib.sha256()
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                md5.update(piece)
                content.update(piece)
        key = f"{_UPLOADS}/{content.hexdigest()[:_SHORT]}/{name}"
        if not storage.exists(key):
            storage.put_file(key, path)
        return md5.hexdigest(), storage.join(key)

    return await asyncio.to_thread(put)


@not_while_loading("remote.upload_dir")
async def _upload_dir(dir_path: str | Path, verify: bool = True, prefix: str | None = None) -> str:
    """Upload a folder with all that is in it into the cluster's storage, where every node can read it.

    It lies at a place that follows from its content and name: equal folders are there once.

    Args:
        dir_path: The folder.
        verify: Of Flyte's own service: it means nothing here, and says so.
        prefix: A folder among the uploads to put it into. Default: none.

    Returns:
        Its path or URL, as for ``Dir.from_existing_remote``.

    Raises:
        ValueError: There is no such folder, or ``prefix`` leaves the uploads.
        StorageError: The storage can't be written.
    """
    _say_what_means_nothing("upload_dir", {"verify": not verify})
    folder = Path(dir_path).expanduser().absolute()
    if not folder.is_dir():
        raise ValueError(f"Directory not found: {dir_path}. Give the path of an existing folder.")
    above = [each for each in (prefix or "").split("/") if each]
    if ".." in above:
        raise ValueError(f"prefix must be a folder among the uploads, got {prefix!r}.")

    def put() -> str:
        storage, content = _storage(), hashlib.sha256()
        keys = sorted(open_storage(folder).list())
        for key in keys:
            content.update(f"{key}\0{_sha256(folder / key)}\0".encode())
        place = "/".join([_UPLOADS, *above, content.hexdigest()[:_SHORT], folder.name])
        there = storage.states(place)
        for key in keys:
            if f"{place}/{key}" not in there:
                storage.put_file(f"{place}/{key}", folder / key)
        open_storage(storage.join(place)).make_folder()  # also when there is nothing to copy
        return storage.join(place)

    return await asyncio.to_thread(put)


upload_file = Verb(_upload_file)
upload_dir = Verb(_upload_dir)


def _say_what_means_nothing(verb: str, options: Mapping[str, object]) -> None:
    for option, given in options.items():
        if given:
            without_meaning(verb, option)


def _storage() -> Storage:
    return open_storage(session().connect().storage)


def _sha256(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            content.update(piece)
    return content.hexdigest()
