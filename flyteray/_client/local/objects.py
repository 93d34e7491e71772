"""Python values that apps in local mode are given as they are: pickled to a file for the process of the app."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import IO, Any

import cloudpickle

from flyteray import _private
from flyteray._plan.bundle import imports
from flyteray.errors import ParameterMaterializationError
from flyteray.storage.pickler import PROTOCOL, unpicklable_part


def write_object(folder: Path, app: str, parameter: str, value: object, module: str) -> Path:
    """Write a value to a file that is named by its content.

    Classes and functions of the user's modules that the app does not have, such as those of a test, go by value.

    ``module`` is that of the app, empty where it has none: what it imports, the app has. A value that can't be pickled
    is a ParameterMaterializationError.
    """
    try:
        with _by_value(value, module):
            data: bytes = cloudpickle.dumps(value, protocol=PROTOCOL)
    except Exception as error:  # users' __reduce__ may raise anything
        path, part = unpicklable_part(value, "it")
        raise ParameterMaterializationError(
            f"Parameter {parameter!r}: a {type(value).__qualname__} can't be given to app {app!r}, whose process is "
            f"another one: {path} is a {type(part).__qualname__}, which can't be pickled ({error}). Give a simpler "
            f"stand-in, or test the app in this process: `with app.given({parameter}=...):` and a test client."
        ) from error
    file = folder / f"given-{hashlib.sha256(data).hexdigest()[:16]}"
    _private.write(file, data)
    return file


@contextlib.contextmanager
def _by_value(value: object, module: str) -> Iterator[None]:
    with open(os.devnull, "wb") as nowhere:
        recorder = _ModuleRecorder(nowhere)
        recorder.dump(value)
    there = imports.closure([module] if module else [])
    strangers = [
        sys.modules[name]
        for name in imports.closure(sorted(recorder.modules))
        if name in recorder.modules and name in sys.modules and name not in there
    ]
    with contextlib.ExitStack() as stack:
        for each in strangers:
            cloudpickle.register_pickle_by_value(each)
            stack.callback(cloudpickle.unregister_pickle_by_value, each)
        yield


class _ModuleRecorder(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle ships no types
    """A pickler that records the modules of the classes and functions that come by."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.modules: set[str] = set()

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (type, FunctionType)):
            self.modules.add(obj.__module__ or "")
        elif isinstance(obj, ModuleType):
            self.modules.add(obj.__name__)
        return super().reducer_override(obj)
