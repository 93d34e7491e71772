"""A configuration file is looked for in Flyte's places, and read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flyteray._logging import system_logger
from flyteray.errors import InitializationError

_NAMED_BY = ("UCTL_CONFIG", "FLYTECTL_CONFIG")


class ConfigFile:
    """A YAML file of Flyte's settings. What is no YAML says nothing, with a warning.

    Args:
        location: Its path.

    Raises:
        InitializationError: there is no such file, or it can't be read; its ``code`` is ``ConfigFileNotFoundError``.
    """

    def __init__(self, location: str | Path) -> None:
        self._path = Path(location)
        self._says = _read(self._path)

    @property
    def path(self) -> Path:
        """The file's path."""
        return self._path

    @property
    def yaml_config(self) -> Mapping[str, Any]:
        """The whole content."""
        return self._says

    def get(self, key: str) -> Any:
        """The value of ``section.option``; None: there is none."""
        found: Any = self._says
        for part in key.split("."):
            # Other programs have a config.yaml too, of another shape.
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def __repr__(self) -> str:
        return f"ConfigFile({str(self._path)!r})"


def get_config_file(c: str | Path | ConfigFile | None = None) -> ConfigFile | None:
    """The file that is named, or else the first one that there is; None: there is none.

    Looked for are ``config.yaml`` and ``.flyte/config.yaml`` in the working directory, ``.flyte/config.yaml`` at the
    root of its git repository, what ``UCTL_CONFIG`` and ``FLYTECTL_CONFIG`` name, ``~/.union/config.yaml`` and
    ``~/.flyte/config.yaml``, in this order.

    Args:
        c: A path, or a file that was read.

    Raises:
        InitializationError: the file that is named, here or by one of the variables, does not exist.
    """
    if isinstance(c, ConfigFile):
        return c
    path = Path(c) if c is not None else next(_candidates(), None)
    return None if path is None else ConfigFile(path)


def git_root(folder: Path) -> Path | None:
    """The root of the git repository that a folder is in; None: it is in none."""
    folder = folder.absolute()
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)


def _candidates() -> Iterator[Path]:
    here = Path.cwd()
    root = git_root(here)
    local = [here / "config.yaml", here / ".flyte" / "config.yaml"]
    yield from (
        path for path in (*local, *([root / ".flyte" / "config.yaml"] if root else [])) if path.is_file()
    )
    for name in _NAMED_BY:
        if text := os.environ.get(name):
            path = Path(text).expanduser()
            if not path.is_file():
                raise _missing(path, f" It is named by {name}: correct or unset it.")
            yield path
    home = Path.home()
    yield from (
        path for path in (home / ".union" / "config.yaml", home / ".flyte" / "config.yaml") if path.is_file()
    )


def _read(path: Path) -> Mapping[str, Any]:
    import yaml  # deferred: most programs have no such file

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise InitializationError(
            "ConfigFileNotFoundError",
            "user",
            f"The configuration file {str(path)!r} can't be read: {error.strerror or error}.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        system_logger().warning("%s is no YAML, so nothing of it is used: %s", path, error)
        return {}
    return found if isinstance(found, Mapping) else {}


def _missing(path: Path, more: str = "") -> InitializationError:
    return InitializationError(
        "ConfigFileNotFoundError",
        "user",
        f"There is no configuration file {str(path)!r} (working directory: {Path.cwd()}).{more}",
    )
