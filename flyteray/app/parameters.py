"""What an app is given when it starts: strings, files, outputs of tasks, endpoints of other apps."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from flyteray._declare.context import parameters
from flyteray.io import Dir, File

ParameterKind = Literal["string", "file", "directory", "app_endpoint", "object"]

PARAMETERS_FILE = "flyte-parameters.json"  # the name of an environment variable, as in Flyte
_KINDS = get_args(ParameterKind)
_ENV_VAR = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


@dataclass(frozen=True)
class AppEndpoint:
    """The URL of another app, looked up when the app starts.

    Args:
        app_name: The other app.
        public: Flyte tells a public address from one inside the cluster; here there is one for both.
    """

    app_name: str
    public: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.app_name, str) or not self.app_name:
            raise ValueError(f"AppEndpoint needs the name of an app, got {self.app_name!r}.")

    @property
    def type(self) -> Literal["string"]:
        """What the app is given: the URL."""
        return "string"


@dataclass(frozen=True)
class RunOutput:
    """An output of a task, fixed when the app is deployed: deploy again to pick up a newer run.

    Args:
        type: What it is: ``"string"``, ``"file"``, ``"directory"`` or ``"app_endpoint"``, or the classes str,
            File, Dir, AppEndpoint. Beyond Flyte, ``"object"``: any Python value, through shared memory.
        run_name: Of this run. Wins over ``task_name``.
        task_name: Of the newest successful run of this task, ``<environment>.<function>``.
        getter: Which output, and what inside it: ``(1, "model")`` is ``outputs[1]["model"]``. Default: the
            first output.

    Raises:
        ValueError: Another type.
        TypeError: A name that is no str, or a getter that is no sequence of ints and strs.
    """

    type: Any
    run_name: str | None = None
    task_name: str | None = None
    getter: tuple[int | str, ...] = (0,)

    def __post_init__(self) -> None:
        classes = {
            str: "string",
            File: "file",
            Dir: "directory",
            AppEndpoint: "app_endpoint",
            object: "object",
        }
        kind = classes.get(self.type, self.type) if isinstance(self.type, type) else self.type
        if kind not in _KINDS:
            raise ValueError(
                f"RunOutput type must be one of {', '.join(_KINDS)}, or a class, got {self.type!r}."
            )
        object.__setattr__(self, "type", kind)
        for field in ("run_name", "task_name"):
            name = getattr(self, field)
            if name is not None and not isinstance(name, str):
                raise TypeError(f"RunOutput {field} must be a str, got {name!r}.")
        steps = self.getter
        if not isinstance(steps, (tuple, list)) or not all(isinstance(step, (int, str)) for step in steps):
            raise TypeError(f"RunOutput getter must be a tuple of ints and strs, got {steps!r}.")
        object.__setattr__(self, "getter", tuple(steps))


@dataclass(frozen=True)
class Parameter:
    """Something an app is given when it starts.

    Server and hook functions take it as an argument of its name; everything else calls :func:`get_parameter`.

    Args:
        name: What the functions call it; ``"i0"`` for None.
        value: A str, File, Dir, :class:`RunOutput` or :class:`AppEndpoint`.
        type: ``"string"``, ``"file"``, ``"directory"``, ``"app_endpoint"`` or ``"object"``; told by the value
            when not given.
        env_var: An environment variable to put it in as well, as text.
        download: Whether files and directories are fetched; else the app gets their remote path.
        mount: Where a file or directory is put. A file goes into it when it ends in a slash.
        ignore_patterns: Files of a directory that are not fetched.

    Raises:
        TypeError: A value of another type.
        ValueError: A bad ``env_var`` or ``type``, or a RunOutput of no run and no task.
    """

    name: str
    value: str | File[Any] | Dir[Any] | RunOutput | AppEndpoint | None = None
    type: ParameterKind | None = None
    env_var: str | None = None
    download: bool = True
    mount: str | None = None
    ignore_patterns: tuple[str, ...] | list[str] = ()

    def __post_init__(self) -> None:
        if self.name is None:
            object.__setattr__(self, "name", "i0")
        if not isinstance(self.name, str):
            raise TypeError(f"A parameter's name must be a str, got {self.name!r}.")
        self._check_value()
        if self.type is not None and self.type not in _KINDS:
            raise ValueError(
                f"Parameter {self.name!r}: type must be one of {', '.join(_KINDS)}, got {self.type!r}."
            )
        if self.env_var is not None and not _ENV_VAR.fullmatch(self.env_var):
            raise ValueError(
                f"Parameter {self.name!r}: {self.env_var!r} is no name for an environment variable: "
                "use letters, digits and _, not starting with a digit."
            )
        if isinstance(self.ignore_patterns, str):
            raise TypeError(
                f"Parameter {self.name!r}: ignore_patterns must be a list, got {self.ignore_patterns!r}."
            )
        object.__setattr__(self, "ignore_patterns", tuple(self.ignore_patterns))

    def _check_value(self) -> None:
        value = self.value
        if value is not None and not isinstance(value, (str, File, Dir, RunOutput, AppEndpoint)):
            raise TypeError(
                f"Parameter {self.name!r} must be a str, File, Dir, RunOutput or AppEndpoint, got "
                f'{type(value).__name__}: {value!r}. Use str(...), or RunOutput(type="object", ...) for any '
                "Python value that a task returns."
            )
        if isinstance(value, RunOutput) and value.run_name is None and value.task_name is None:
            raise ValueError(f"Parameter {self.name!r}: RunOutput needs run_name or task_name.")

    @property
    def kind(self) -> ParameterKind:
        """What the app is given: ``type``, or else what the value tells; a string when there is neither."""
        if self.type is not None:
            return self.type
        if isinstance(self.value, RunOutput):
            kind: ParameterKind = self.value.type
            return kind
        if isinstance(self.value, File):
            return "file"
        if isinstance(self.value, Dir):
            return "directory"
        return "app_endpoint" if isinstance(self.value, AppEndpoint) else "string"


def get_parameter(name: str) -> Any:
    """A parameter of the app that runs here: text (a path for files), or the value itself of kind "object".

    A thread that you start yourself sees texts only: start it with ``contextvars.copy_context().run``.

    Raises:
        ValueError: No app runs here.
        KeyError: It has no such parameter; the message lists those it has.
    """
    found = parameters.get()
    if found is None:
        path = os.environ.get(PARAMETERS_FILE)
        if path is None:
            raise ValueError("Parameters are not mounted: get_parameter works inside a running app only.")
        # A child process of the app, or a thread without its context: the file has texts only.
        found = json.loads(Path(path).read_text())
    if name not in found:
        raise KeyError(
            f"There is no parameter {name!r}. This app has: {', '.join(map(repr, found)) or 'none'}."
        )
    return found[name]
