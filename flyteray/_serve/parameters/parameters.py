"""An app's parameters are resolved on the node of its replica: fetched, placed, and shown to the app's code."""

from __future__ import annotations

import json
import os
import pickle
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, TypeVar

from flyteray import _private
from flyteray._declare.this_cluster import ENDPOINT_PATTERN, this_process
from flyteray._plan.bundle.bundle import cache_folder
from flyteray._plan.spec import OutputRef, ParameterSpec
from flyteray._serve.parameters.downloads import Download, Downloads, OtherContentError
from flyteray._serve.parameters.mounts import Mount, Mounts
from flyteray.app.parameters import PARAMETERS_FILE, published
from flyteray.errors import ParameterMaterializationError, RuntimeSystemError
from flyteray.io import Dir, File

T = TypeVar("T")


class Outputs(Protocol):
    """Finds and reads the outputs of tasks that parameters refer to."""

    def locate(self, ref: OutputRef) -> str:
        """The run that has the output: the one that is named, or the newest of its task."""

    def read(self, ref: OutputRef) -> Any:
        """The output of a run that is named."""

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        """The newest run for each, as soon as one differs from that ``seen``, or after ``timeout_s`` seconds."""


@dataclass(frozen=True)
class Value:
    """The value of a parameter.

    ``argument`` goes to server and hooks (a File or Dir, a str, or any object); ``text`` is its string form (a path, a
    URL); ``visible`` is for ``get_parameter``: the text, or the object itself for kind ``object``. ``run`` is the run
    whose output it is.
    """

    argument: Any
    text: str
    visible: Any
    run: str | None = None
    download: Download | None = None
    mount: Mount | None = None

    def without_content(self) -> Value:
        """Keep its files alone, so that the value itself can go."""
        return replace(self, argument=None, visible=None)

    def release(self) -> None:
        """Give up the files that it holds."""
        if self.mount is not None:
            self.mount.release()
        if self.download is not None:
            self.download.release()


class Parameters:
    """The parameters of a replica; ``arguments`` and ``visible`` are live views of their values."""

    def __init__(self, specs: Sequence[ParameterSpec], values: Mapping[str, Value]) -> None:
        self._specs = specs
        self._values = dict(values)
        self.arguments: Mapping[str, Any] = _View(self, "argument")
        self.visible: Mapping[str, Any] = _View(self, "visible")

    @property
    def values(self) -> Mapping[str, Value]:
        """All values by name; the mapping itself never changes."""
        return self._values

    @property
    def texts(self) -> dict[str, str]:
        return {name: value.text for name, value in self.values.items()}

    @property
    def env_vars(self) -> dict[str, str]:
        return {each.env_var: self.values[each.name].text for each in self._specs if each.env_var is not None}

    @property
    def runs(self) -> dict[str, str]:
        return {name: value.run for name, value in self.values.items() if value.run is not None}

    def replace(self, values: Mapping[str, Value]) -> None:
        """Give some of them new values, all at once; the caller releases the old ones."""
        self._values = {**self._values, **values}

    def publish(self, folder: Path) -> None:
        """Set the environment variables, and let ``get_parameter`` find the rest, here and in child processes."""
        file = folder / PARAMETERS_FILE
        _private.replace(file, json.dumps(self.texts))
        os.environ.update({**self.env_vars, PARAMETERS_FILE: str(file)})
        published()[str(file)] = self.visible

    def release(self) -> None:
        """Give up their files; nothing reads them any more."""
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


@dataclass(eq=False, repr=False)
class Resolver:
    """Fetches, downloads and mounts the values of parameters.

    Relative mounts start in ``folder``; mounted paths belong to ``app``; ``read`` and ``locate`` are those of
    :class:`Outputs`; ``given`` are files with the pickled values of parameters that are given as they are.
    """

    folder: Path
    app: str
    read: Callable[[OutputRef], Any]
    locate: Callable[[OutputRef], str] = named_run
    given: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shared = cache_folder().parent  # of all processes of this node
        self._downloads = Downloads(shared / f"flyteray-downloads-{os.getuid()}")
        self._mounts = Mounts(shared / f"flyteray-mounts-{os.getuid()}", self.app)
        self._fetching = ""

    def waits_for(self) -> str:
        """Say what :meth:`all` waits for, as a sentence without its full stop."""
        return f"parameter {self._fetching!r} is still being fetched"

    def all(self, specs: Sequence[ParameterSpec]) -> Parameters:
        """Resolve the parameters of an app version.

        Raises ParameterMaterializationError where a value is missing, of a wrong type, changing, or can't be placed.
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
        """Fetch a value to this node; an output is that of ``run``, or of the run that the spec names."""
        if spec.name in self.given:
            return _Fetcher(spec, self._downloads).value(pickle.loads(self.given[spec.name].read_bytes()))
        if spec.output is None:
            return _Fetcher(spec, self._downloads).value(spec.value)
        located = spec.output.model_copy(update={"run_name": run or self.locate(spec.output)})
        return _Fetcher(spec, self._downloads, located.run_name).value(self.read(located))

    def place(self, spec: ParameterSpec, value: Value) -> Value:
        """Put a fetched value at its mount, where it has one; when that fails, the value is released."""
        if spec.mount is None or value.download is None:
            return value
        name = (
            PurePosixPath(value.download.path).name
            if spec.kind == "file" and spec.mount.endswith("/")
            else ""
        )
        target = self.folder / spec.mount / name
        try:
            mount = self._mounts.put(target, value.download.path)
        except OSError as error:
            value.release()
            problem = f"it can't be put at {target}: {error}"
            raise _error(spec, problem, "Check the mount and who may write there") from error
        path = str(target)
        return replace(value, argument=type(value.argument)(path=path), text=path, visible=path, mount=mount)


@dataclass(eq=False, repr=False)
class _Fetcher:
    """Fetches one parameter; its name and kind go into every error."""

    spec: ParameterSpec
    downloads: Downloads
    run: str | None = None

    def value(self, raw: Any) -> Value:
        kind = self.spec.kind
        if raw is None and kind != "object":
            raise _error(self.spec, "it has no value", "Give it one in its declaration")
        if kind == "object":
            source = f" of run {self.run}" if self.run else ""
            text = raw if isinstance(raw, str) else f"<{type(raw).__qualname__}{source}>"
            return Value(raw, text, raw, self.run)
        if kind in ("file", "directory"):
            wanted: type[File[Any]] | type[Dir[Any]] = File if kind == "file" else Dir
            given = isinstance(raw, str) and self.spec.output is None
            return self._located(raw if given else self._expect(raw, wanted).path, wanted)
        text = self._expect(raw, str)
        if kind == "app_endpoint":
            text = self._endpoint(text)
        return Value(text, text, text, self.run)

    def _endpoint(self, app: str) -> str:
        if "://" in app:
            return app
        url = this_process().cluster.endpoint(app)
        if url is None:
            problem = f"the endpoint of app {app!r} is unknown here"
            raise _error(self.spec, problem, f"{ENDPOINT_PATTERN} is not set")
        return url

    def _located(self, url: str, kind: type[File[Any]] | type[Dir[Any]]) -> Value:
        spec = self.spec
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
        return Value(kind(path=path), path, path, self.run, held)

    def _download(self, url: str) -> Download:
        # The hash of an output is that of the whole output, which may hold more than this file.
        content = self.spec.hash if self.spec.output is None else None
        try:
            if self.spec.kind == "directory":
                return self.downloads.directory(url, self.spec.ignore_patterns, content)
            return self.downloads.file(url, content)
        except OtherContentError:
            problem = f"{url} holds something else than when this version of the app was served"
            raise _error(self.spec, problem, "Serve the app again to have what is there now") from None
        except (OSError, ValueError, RuntimeSystemError) as error:
            problem = f"{url} can't be fetched: {error}"
            raise _error(self.spec, problem, "Check the path, and the room on this node's disk") from error

    def _expect(self, value: Any, kind: type[T]) -> T:
        if not isinstance(value, kind):
            raise _error(
                self.spec,
                f"it is declared as {self.spec.kind} and needs a {kind.__name__}, but the output is a "
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
    problem = f"{path} is a {there}, but it is declared as a {spec.kind}"
    return _error(spec, problem, f'Give {wanted}, or type="{there}"')


def _local(path: str) -> Path | None:
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    return None if "://" in path else Path(path)
