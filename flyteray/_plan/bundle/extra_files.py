"""Environments ask for files to be shipped with the code: by ``include``, and by source layers of their images."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from flyteray._declare.environment import Environment
from flyteray._declare.images.image import Image
from flyteray._plan.bundle.ignore_files import files_below, is_clutter
from flyteray.errors import CodeBundleError


def included(environments: Sequence[Environment]) -> list[tuple[Path, Path]]:
    """The files that the environments include, each with the file whose environment asks for it.

    A folder stands for all files in it but caches and what a ``.flyteignore`` names; a ``.gitignore`` does not
    count, because data that is asked for by name is often kept out of Git. CodeBundleError where nothing matches.
    """
    return [each for env in environments for pattern in env.include for each in _matches(env, pattern)]


def image_files(environments: Sequence[Environment]) -> Iterator[tuple[Path, str]]:
    """The files that the images of the environments bring, with their places beside the code.

    A folder stands for all files in it, as with :func:`included`. CodeBundleError where a place is not below the code,
    ImageBuildError where one of them does not exist.
    """
    for env in environments:
        for source in env.image.sources() if isinstance(env.image, Image) else ():
            source.validate()
            place = os.path.normpath(source.destination)
            if os.path.isabs(place) or place.startswith(".."):
                raise CodeBundleError(
                    f"{type(env).__name__} {env.name!r}: its image puts {source.path} at {source.destination!r}. "
                    'On Ray it travels with the code, so give a place relative to that, such as "." or "data".'
                )
            path = source.path.resolve()
            if source.kind == "file":
                yield path, os.path.normpath(f"{place}/{source.path.name}")
            else:
                for file in files_below(path, (".flyteignore",)):
                    yield file, os.path.normpath(f"{place}/{file.relative_to(path).as_posix()}")


def _matches(env: Environment, pattern: str) -> list[tuple[Path, Path]]:
    words = f"{type(env).__name__} {env.name!r} includes {pattern!r}"
    if env._declaring_file is None:
        raise CodeBundleError(
            f"{words}, but it was not declared in a file that this could be relative to: declare it in a .py file."
        )
    asked_by = Path(env._declaring_file).resolve()
    path = os.path.normpath(asked_by.parent / Path(pattern).expanduser())
    wanted = os.path.normpath(Path(glob.escape(str(asked_by.parent))) / Path(pattern).expanduser())
    if os.path.exists(path):
        found = [Path(path)]
    else:
        folder = Path(os.path.commonpath([path, asked_by.parent]))
        matches = map(Path, sorted(glob.glob(wanted, recursive=True)))
        found = [match for match in matches if not is_clutter(match, folder)]
    listed = (files_below(each, (".flyteignore",)) if each.is_dir() else (each,) for each in found)
    files = [(file, asked_by) for part in listed for file in part]
    if not files:
        raise CodeBundleError(f"{words}, but nothing in {asked_by.parent} is called so.")
    return files
