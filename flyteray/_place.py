"""A place for bytes is a path or a URL; one that is misspelt is refused before anything is kept there."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https")
_SCHEMES = ("file", *OBJECT_STORES)
_URL = re.compile(r"(?P<scheme>[^/:]*)(?P<between>:/*|//)(?P<rest>.*)", re.DOTALL)
_PASSWORD = re.compile(r"[^/@:]*:(?!\d+/)[^@]*@")  # behind a colon that begins no port


def parse(place: str) -> tuple[str, str]:
    """The scheme of a place, ``""`` of a plain path, and what follows the scheme, or the path.

    Raises:
        ValueError: it is empty, of no known scheme, looks like a URL and is none, or has a password in it.
    """
    if not place:
        raise ValueError("The storage URL is empty: give a folder or a URL such as s3://bucket/path.")
    found = _URL.match(place)
    if found is None:
        return "", place
    scheme, between, rest = found["scheme"], found["between"], found["rest"]
    known = scheme.lower() in _SCHEMES
    if not known and not between.startswith("://"):
        return "", place
    if _PASSWORD.match(rest):
        raise ValueError(
            f"Storage {scheme}://…@{rest.partition('@')[2]} has a password in its URL, which logs would show: leave it "
            "out, and set the environment variables of this kind of storage."
        )
    if not known:
        choices = ", ".join(f"{each}://" for each in _SCHEMES)
        raise ValueError(
            f"Storage {place!r} is of an unknown kind {scheme!r}: use a plain path or one of {choices}"
        )
    if scheme not in _SCHEMES or not between.startswith("://"):
        meant = f"{scheme.lower()}://{'/' if scheme == 'file' else ''}{rest}"
        raise ValueError(
            f"Storage {place!r} is neither a URL nor a path: write {meant!r}, or './{place}' for a folder of that name."
        )
    return scheme, between[3:] + rest


def root(place: str) -> str:
    """A storage's root as all processes find it: its URL, or the absolute path of its folder.

    Raises:
        ValueError: as of :func:`parse`; it names no bucket, or has options in its URL, which nobody would follow.
    """
    scheme, rest = parse(place)
    if scheme in ("", "file"):
        return str(Path(unquote(rest) if scheme else rest).expanduser().absolute())
    if not rest.partition("/")[0]:
        raise ValueError(f"Storage {place!r} names no bucket: write {scheme}://BUCKET/PATH.")
    if option := re.search(r"[?#].*", rest):
        raise ValueError(
            f"Storage {place!r} ends in {option.group()!r}, which is no part of a bucket or path. Leave it out: "
            "options are environment variables, such as AWS_ENDPOINT_URL."
        )
    return place.rstrip("/")
