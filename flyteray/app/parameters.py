"""Parameters are given to an app when it starts: strings, files, outputs of tasks, endpoints of other apps."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyteray._declare.near import did_you_mean
from flyteray.app.sources import KINDS, AppEndpoint, ParameterKind, RunOutput
from flyteray.io import Dir, File

PARAMETERS_FILE = "flyte-parameters.json"  # the name of an environment variable, as in Flyte
_TYPES_OF: dict[type, tuple[str, ...]] = {  # what an app may be given of a value; of an output, anything
    str: ("string", "file", "directory", "app_endpoint"),
    File: ("file", "string"),
    Dir: ("directory", "string"),
    AppEndpoint: ("app_endpoint", "string"),
}
_ENV_VAR = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


@dataclass(frozen=True)
class Parameter:
    """Something an app is given when it starts.

    Server and hook functions take it as an argument of its name; everything else calls :func:`get_parameter`.

    A file or directory is fetched once per node, and is the one that was there when the app was served: a replica that
    starts later and finds another content says so and does not start, so that all replicas of a version have the same.

    Args:
        name: What the functions call it; ``"i0"`` for None.
        value: A str, File, Dir, :class:`RunOutput` or :class:`AppEndpoint`; in local mode, of type ``"object"``, any
            Python value that can be pickled. None: must be given when it is served.
        type: ``"string"``, ``"file"``, ``"directory"``, ``"app_endpoint"`` or ``"object"``; told by the value
            when not given.
        env_var: An environment variable to put it in as well, as text.
        download: Whether files and directories are fetched; else the app gets their remote path.
        mount: Where a file or directory is put. A file goes into it when it ends in a slash.
        ignore_patterns: Files of a directory that are not fetched.

    Raises:
        TypeError: A field of another type.
        ValueError: A bad ``env_var``, or a ``type`` that there is not or that the value can't be.
    """

    name: str
    value: str | File[Any] | Dir[Any] | RunOutput | AppEndpoint | None = None
    type: ParameterKind | None = None
    env_var: str | None = None
    download: bool = True
    mount: str | None = None
    ignore_patterns: list[str] | tuple[str, ...] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.name is None:
            object.__setattr__(self, "name", "i0")
        if not isinstance(self.name, str):
            raise TypeError(f"A parameter's name must be a str, got {self.name!r}.")
        self._check_value()
        if self.type is not None and self.type not in KINDS:
            raise ValueError(
                f"Parameter {self.name!r}: type must be one of {', '.join(KINDS)}, got {self.type!r}."
            )
        for kind, types in _TYPES_OF.items():
            if isinstance(self.value, kind) and self.type not in (None, *types):
                raise ValueError(
                    f"Parameter {self.name!r} is of type {self.type!r}, which {self.value!r} can't be: "
                    f"its type is {' or '.join(types)}."
                )
        for option in ("env_var", "mount"):
            text = getattr(self, option)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"Parameter {self.name!r}: {option} must be a str, got {text!r}.")
        if not isinstance(self.download, bool):
            raise TypeError(f"Parameter {self.name!r}: download must be a bool, got {self.download!r}.")
        if self.env_var is not None and not _ENV_VAR.fullmatch(self.env_var):
            raise ValueError(
                f"Parameter {self.name!r}: {self.env_var!r} is no name for an environment variable: "
                "use letters, digits and _, not starting with a digit."
            )
        patterns = self.ignore_patterns
        if not isinstance(patterns, (list, tuple)) or not all(isinstance(each, str) for each in patterns):
            raise TypeError(
                f"Parameter {self.name!r}: ignore_patterns must be a list of str, got {patterns!r}."
            )

    def _check_value(self) -> None:
        value = self.value
        declared = value is None or isinstance(value, (str, File, Dir, RunOutput, AppEndpoint))
        if not declared and self.type != "object":
            raise TypeError(
                f"Parameter {self.name!r} must be a str, File, Dir, RunOutput or AppEndpoint, got "
                f'{type(value).__name__}: {value!r}. Use str(...), or RunOutput(type="object", ...) for any '
                "Python value that a task returns."
            )

    @property
    def kind(self) -> ParameterKind:
        """The kind of value that the app is given: ``type``, else that of the value; a string without either."""
        if isinstance(self.value, AppEndpoint):  # its URL, which is a string as well
            return "app_endpoint"
        if self.type is not None:
            return self.type
        if isinstance(self.value, RunOutput):
            kind: ParameterKind = self.value.type
            return kind
        if isinstance(self.value, File):
            return "file"
        if isinstance(self.value, Dir):
            return "directory"
        return "string"


def get_parameter(name: str) -> Any:
    """A parameter of the app that runs here: text (a path for files), or the value itself of kind "object".

    A process that the app starts sees texts only.

    Raises:
        ValueError: No app runs here.
        KeyError: It has no such parameter; the message lists those it has.
    """
    path = os.environ.get(PARAMETERS_FILE)
    if path is None:
        raise ValueError(
            "Parameters are not mounted: get_parameter works inside a running app only. In a test, "
            "`with app.given(name=value):` gives it some."
        )
    found = published().get(path)
    if found is None:  # a child process of the app
        found = json.loads(Path(path).read_text())
    if name not in found:
        raise KeyError(_missing(name, found))
    return found[name]


@contextlib.contextmanager
def given(parameters: Sequence[Parameter], values: Mapping[str, Any]) -> Iterator[None]:
    """Have :func:`get_parameter` return values in this process, and child processes their texts, meanwhile.

    A text that one of ``parameters`` declares is there as well. ValueError: the app has no parameter of such a name.
    """
    there = {parameter.name: parameter for parameter in parameters}
    if unknown := [name for name in values if name not in there]:
        raise ValueError(_missing(unknown[0], there))
    declared = {name: each.value for name, each in there.items() if isinstance(each.value, (str, File, Dir))}
    visible = {name: _visible(there[name], value) for name, value in {**declared, **values}.items()}
    texts = {name: value if isinstance(value, str) else repr(value) for name, value in visible.items()}
    with tempfile.TemporaryDirectory(prefix="flyteray-given-") as folder:
        file = Path(folder, PARAMETERS_FILE)
        file.write_text(json.dumps(texts))
        variables = {
            each.env_var: texts[name] for name, each in there.items() if each.env_var and name in texts
        }
        before = {name: os.environ.get(name) for name in (PARAMETERS_FILE, *variables)}
        os.environ.update({**variables, PARAMETERS_FILE: str(file)})
        published()[str(file)] = visible
        try:
            yield
        finally:
            del published()[str(file)]
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def _missing(name: str, there: Mapping[str, Any]) -> str:
    names = ", ".join(map(repr, there)) or "none"
    return f"There is no parameter {name!r}. This app has: {names}.{did_you_mean(name, there)}"


def _visible(parameter: Parameter, value: Any) -> Any:
    is_path = isinstance(value, (File, Dir)) and parameter.kind != "object"
    return value.path if is_path else value


@functools.cache
def published() -> dict[str, Mapping[str, Any]]:
    """The parameters of the apps that run in this process, by the path of the file with their texts."""
    return {}
