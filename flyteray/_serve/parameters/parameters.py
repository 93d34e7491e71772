"""Parameters as a running app sees them: arguments, environment variables, get_parameter."""

from __future__ import annotations

import json
import os
import pickle
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from flyteray import _private
from flyteray._declare.this_cluster import ENDPOINT_PATTERN, this_process
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.downloads import Downloads, Held, OtherContentError
from flyteray._serve.parameters.mounts import Mount, Mounts
from flyteray.app.parameters import PARAMETERS_FILE, published
from flyteray.errors import ParameterMaterializationError, RuntimeSystemError
from flyteray.io import Dir, File

T = TypeVar("T")


@dataclass(frozen=True)
class Value:
    """The value of a parameter.

    ``argument`` goes to server and hooks (a File or Dir, a str, or any object); ``text`` is its string form (a path, a
    URL); ``visible`` is what ``get_parameter`` returns: the text, or the object itself for kind ``object``. ``run`` is
    the run that it is an output of.
    """

    argument: Any
    text: str
    visible: Any
    run: str | None = None
    held: Held | None = None
    mount: Mount | None = None

    def without_content(self) -> Value:
        """What it holds on disk alone, so that the value itself can go."""
        return replace(self, argument=None, visible=None)

    def release(self) -> None:
        """Give up the files that it holds."""
        if self.mount is not None:
            self.mount.release()
        if self.held is not None:
            self.held.release()


class Parameters:
    """The parameters of a replica. ``arguments`` and ``visible`` are views: they show the values of now."""

    def __init__(self, specs: Sequence[ParameterSpec], values: Mapping[str, Value]) -> None:
        self._specs = specs
        self._values = dict(values)
        self.arguments: Mapping[str, Any] = _View(self, "argument")
        self.visible: Mapping[str, Any] = _View(self, "visible")

    @property
    def values(self) -> Mapping[str, Value]:
        """All of them by name; the mapping itself never changes."""
        return self._values

    @property
    def texts(self) -> dict[str, str]:
        """The text of each."""
        return {name: value.text for name, value in self.values.items()}

    @property
    def env_vars(self) -> dict[str, str]:
        """The texts by the environment variables asked for."""
        return {each.env_var: self.values[each.name].text for each in self._specs if each.env_var is not None}

    @property
    def runs(self) -> dict[str, str]:
        """The runs of those that are outputs."""
        return {name: value.run for name, value in self.values.items() if value.run is not None}

    def replace(self, values: Mapping[str, Value]) -> None:
        """Let some have new values, all of them at once; the old ones are the caller's to release."""
        self._values = {**self._values, **values}

    def publish(self, folder: Path) -> None:
        """Set the environment variables, and have ``get_parameter`` find the rest, here and in child processes."""
        file = folder / PARAMETERS_FILE
        _private.replace(file, json.dumps(self.texts))
        os.environ.update({**self.env_vars, PARAMETERS_FILE: str(file)})
        published()[str(file)] = self.visible

    def release(self) -> None:
        """Give up all that they hold; nothing reads them any more."""
        for value in self.values.values():
            value.release()


class _View(Mapping[str, Any]):
    def __init__(self, parameters: Parameters, field: str) -> None:
        self._parameters = parameters
        self._field = field

    def __getitem__(self, name: str) -> Any:
        return getattr(self._parameters.values[name], self._field)

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters.values)

    def __len__(self) -> int:
        return len(self._parameters.values)


def named_run(ref: OutputRef) -> str:
    """The run that a reference names."""
    assert ref.run_name is not None
    return ref.run_name


class Resolver:
    """Fetches, downloads and mounts what parameters name.

    Args:
        folder: The replica's own; relative mounts start here.
        app: The app's name; mounted paths belong to it.
        read: Gives the value of an output of a run.
        locate: Gives the run that an output is of.
        given: Files with the pickled values of parameters that are given as they are.
    """

    def __init__(
        self,
        folder: Path,
        app: str,
        read: Callable[[OutputRef], Any],
        locate: Callable[[OutputRef], str] = named_run,
        given: Mapping[str, Path] | None = None,
    ) -> None:
        shared = cache_folder().parent  # of all processes of this node
        self._folder = folder
        self._downloads = Downloads(shared / f"flyteray-downloads-{os.getuid()}")
        self._mounts = Mounts(shared / f"flyteray-mounts-{os.getuid()}", app)
        self._locate = locate
        self._read = read
        self._given = given or {}
        self._fetching = ""

    def waits_for(self) -> str:
        """What :meth:`all` is at, as a sentence without its full stop."""
        return f"parameter {self._fetching!r} is still being fetched"

    def all(self, specs: Sequence[ParameterSpec]) -> Parameters:
        """The parameters of an app version.

        Raises:
            ParameterMaterializationError: a value is missing, of another type than declared, changed while it was
                fetched, or can't be placed.
        """
        self._mounts.sweep()
        values: dict[str, Value] = {}
        try:
            for spec in specs:
                self._fetching = spec.name
                values[spec.name] = self.place(spec, self.fetch(spec))
        except BaseException:
            for value in values.values():
                value.release()
            raise
        self._downloads.sweep()
        return Parameters(specs, values)

    def fetch(self, spec: ParameterSpec, run: str | None = None) -> Value:
        """A value on this node, not mounted yet; an output is that of ``run``, or of the one that the spec names."""
        if spec.name in self._given:
            return _Fetcher(spec, self._downloads).value(pickle.loads(self._given[spec.name].read_bytes()))
        if spec.output is None:
            return _Fetcher(spec, self._downloads).value(spec.value)
        located = spec.output.model_copy(update={"run_name": run or self._locate(spec.output)})
        return _Fetcher(spec, self._downloads, located.run_name).value(self._read(located))

    def place(self, spec: ParameterSpec, value: Value) -> Value:
        """A fetched value at its mount, where it has one; when that fails, the value is released."""
        if spec.mount is None or value.held is None:
            return value
        name = PurePosixPath(value.held.path).name if spec.kind == "file" and spec.mount.endswith("/") else ""
        target = self._folder / spec.mount / name
        try:
            mount = self._mounts.put(target, value.held.path)
        except OSError as error:
            value.release()
            raise _error(
                spec, f"it can't be put at {target}: {error}", "Check the mount and who may write there"
            ) from error
        kind = type(value.argument)
        return replace(
            value, argument=kind(path=str(target)), text=str(target), visible=str(target), mount=mount
        )


class _Fetcher:
    """One parameter; its name and kind go into every error."""

    def __init__(self, spec: ParameterSpec, downloads: Downloads, run: str | None = None) -> None:
        self._spec = spec
        self._downloads = downloads
        self._run = run

    def value(self, raw: Any) -> Value:
        kind = self._spec.kind
        if raw is None and kind != "object":
            raise _error(self._spec, "it has no value", "Give it one in its declaration")
        if kind == "object":
            return self._object(raw)
        if kind in ("file", "directory"):
            wanted: type[File[Any]] | type[Dir[Any]] = File if kind == "file" else Dir
            given = isinstance(raw, str) and self._spec.output is None
            return self._located(raw if given else self._expect(raw, wanted).path, wanted)
        text = self._expect(raw, str)
        if kind == "app_endpoint":
            text = self._endpoint(text)
        return Value(text, text, text, self._run)

    def _object(self, value: Any) -> Value:
        source = f" of run {self._run}" if self._run else ""
        text = value if isinstance(value, str) else f"<{type(value).__qualname__}{source}>"
        return Value(value, text, value, self._run)

    def _endpoint(self, app: str) -> str:
        if "://" in app:
            return app
        url = this_process().cluster.endpoint(app)
        if url is None:
            raise _error(
                self._spec, f"the endpoint of app {app!r} is unknown here", f"{ENDPOINT_PATTERN} is not set"
            )
        return url

    def _located(self, url: str, kind: type[File[Any]] | type[Dir[Any]]) -> Value:
        spec = self._spec
        local = _local(url)
        held = None
        path = url
        if spec.mount is not None or spec.download:
            if local is not None and not (local.is_dir() if kind is Dir else local.is_file()):
                raise _missing(spec, local)
            if local is not None and spec.mount is None and not spec.ignore_patterns:
                path = str(local)  # readable as it is: no copy
            else:
                held = self._download(url)
                path = str(held.path)
        return Value(kind(path=path), path, path, self._run, held)

    def _download(self, url: str) -> Held:
        # The hash of an output is that of the whole output, which may hold more than this file.
        content = self._spec.hash if self._spec.output is None else None
        try:
            if self._spec.kind == "directory":
                return self._downloads.directory(url, self._spec.ignore_patterns, content)
            return self._downloads.file(url, content)
        except OtherContentError:
            raise _error(
                self._spec,
                f"{url} holds something else than when this version of the app was served",
                "Serve the app again to have what is there now",
            ) from None
        except (OSError, ValueError, RuntimeSystemError) as error:
            raise _error(
                self._spec,
                f"{url} can't be fetched: {error}",
                "Check the path, and the room on this node's disk",
            ) from error

    def _expect(self, value: Any, kind: type[T]) -> T:
        if not isinstance(value, kind):
            raise _error(
                self._spec,
                f"it is declared as {self._spec.kind} and needs a {kind.__name__}, but the output is a "
                f"{type(value).__name__}: {reprlib.repr(value)}",
                'Return the right type from the task, or declare RunOutput(type="object")',
            )
        return value


def _error(spec: ParameterSpec, problem: str, remedy: str) -> ParameterMaterializationError:
    return ParameterMaterializationError(f"Parameter {spec.name!r}: {problem}. {remedy}.")


def _missing(spec: ParameterSpec, path: Path) -> ParameterMaterializationError:
    if not path.exists():
        remedy = "It must be readable on every node"
        if not path.is_absolute():
            remedy = "A relative path begins in the app's own folder: include it with the code, or give an absolute one"
        return _error(spec, f"there is no such {spec.kind}: {path}", remedy)
    there, wanted = ("directory", "a Dir") if path.is_dir() else ("file", "a File")
    return _error(
        spec, f"{path} is a {there}, but it is declared as a {spec.kind}", f'Give {wanted}, or type="{there}"'
    )


def _local(path: str) -> Path | None:
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    return None if "://" in path else Path(path)
