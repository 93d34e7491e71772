"""Parameters as a running app sees them: arguments, environment variables, get_parameter."""

from __future__ import annotations

import fnmatch
import os
import reprlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray.errors import ParameterMaterializationError, RuntimeSystemError
from flyteray.io import Dir, File
from flyteray.storage import Storage

T = TypeVar("T")

_DOWNLOADS = 8  # at a time, for a directory


@dataclass(frozen=True)
class Parameters:
    """The parameters of a replica.

    ``arguments`` go to server and hooks by name (File and Dir objects, strings, or any object); ``texts`` are
    their string forms (a path, a URL); ``visible`` is what ``get_parameter`` returns: the text, or the object
    itself for kind ``object``; ``env_vars`` maps the variables asked for to texts.
    """

    arguments: dict[str, Any]
    texts: dict[str, str]
    visible: dict[str, Any]
    env_vars: dict[str, str]


def resolve(specs: Sequence[ParameterSpec], folder: Path, read: Callable[[OutputRef], Any]) -> Parameters:
    """Fetch, download and mount what the parameters name.

    Args:
        specs: The app version's parameters.
        folder: Where downloads without a mount go; relative mounts start here.
        read: Gives the value of an output.

    Raises:
        ParameterMaterializationError: a value is missing, of another type than declared, or can't be placed.
    """
    found = Parameters({}, {}, {}, {})
    for spec in specs:
        value = _Resolver(spec, folder).value(spec.value if spec.output is None else read(spec.output))
        text = _text(spec, value)
        found.arguments[spec.name] = value
        found.texts[spec.name] = text
        found.visible[spec.name] = value if spec.kind == "object" else text
        if spec.env_var is not None:
            found.env_vars[spec.env_var] = text
    return found


def _text(spec: ParameterSpec, value: Any) -> str:
    if spec.kind == "object":
        source = f" of run {spec.output.run_name}" if spec.output and spec.output.run_name else ""
        return value if isinstance(value, str) else f"<{type(value).__qualname__}{source}>"
    return str(value.path) if isinstance(value, (File, Dir)) else str(value)


class _Resolver:
    """One parameter; its name and kind go into every error."""

    def __init__(self, spec: ParameterSpec, folder: Path) -> None:
        self._spec = spec
        self._folder = folder

    def value(self, raw: Any) -> Any:
        kind = self._spec.kind
        if raw is None and kind != "object":
            raise self._error("it has no value", "Give it one in its declaration")
        if kind == "string":
            return self._expect(raw, str)
        if kind == "app_endpoint":
            return self._endpoint(self._expect(raw, str))
        if kind == "file":
            return self._file(
                raw if isinstance(raw, str) and self._spec.output is None else self._expect(raw, File).path
            )
        if kind == "directory":
            return self._dir(
                raw if isinstance(raw, str) and self._spec.output is None else self._expect(raw, Dir).path
            )
        return raw

    def _endpoint(self, app: str) -> str:
        if "://" in app:
            return app
        pattern = os.environ.get("INTERNAL_APP_ENDPOINT_PATTERN")
        if not pattern:
            raise self._error(
                f"the endpoint of app {app!r} is unknown here", "INTERNAL_APP_ENDPOINT_PATTERN is not set"
            )
        return pattern.replace("{app_fqdn}", app)

    def _file(self, path: str) -> Any:
        name = PurePosixPath(path).name
        mount = self._spec.mount
        return self._placed(path, File, mount + name if mount is not None and mount.endswith("/") else mount)

    def _dir(self, path: str) -> Any:
        return self._placed(path, Dir, self._spec.mount)

    def _placed(self, path: str, kind: type[File[Any]] | type[Dir[Any]], mount: str | None) -> Any:
        if mount is None and not self._spec.download:
            return kind(path=path)
        local = _local(path)
        if local is not None:
            if not (local.is_dir() if kind is Dir else local.is_file()):
                raise self._error(
                    f"there is no such {self._spec.kind}: {path}", "It must be readable on every node"
                )
            if mount is None and not self._spec.ignore_patterns:
                return kind(path=str(local))  # readable as it is: no copy
        own = f"parameters/{self._spec.name}/{PurePosixPath(path).name}"
        target = self._folder / (own if mount is None else mount)
        try:
            if kind is Dir:
                self._copy_dir(Storage.at(path), target)
            else:
                storage, key = Storage.locate(path)
                storage.get_file(key, target)
        except (OSError, RuntimeSystemError) as error:
            raise self._error(
                f"{path} can't be put at {target}: {error}", "Check the path and the mount"
            ) from error
        return kind(path=str(target))

    def _copy_dir(self, storage: Storage, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        found = list(storage.list())
        if not found and not storage.is_local:  # an object store has no empty folders
            raise FileNotFoundError(f"nothing is stored below {storage.url}")
        keys = [key for key in found if not _ignored(key, self._spec.ignore_patterns)]
        with ThreadPoolExecutor(_DOWNLOADS) as pool:
            for _ in pool.map(lambda key: storage.get_file(key, target / key), keys):
                pass

    def _expect(self, value: Any, kind: type[T]) -> T:
        if not isinstance(value, kind):
            raise self._error(
                f"it is declared as {self._spec.kind} and needs a {kind.__name__}, but the output is a "
                f"{type(value).__name__}: {reprlib.repr(value)}",
                'Return the right type from the task, or declare RunOutput(type="object")',
            )
        return value

    def _error(self, problem: str, remedy: str) -> ParameterMaterializationError:
        return ParameterMaterializationError(f"Parameter {self._spec.name!r}: {problem}. {remedy}.")


def _local(path: str) -> Path | None:
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    return None if "://" in path else Path(path)


def _ignored(name: str, patterns: Sequence[str]) -> bool:
    candidates = [name, *PurePosixPath(name).parts]
    return any(fnmatch.fnmatch(each, pattern) for each in candidates for pattern in patterns)
