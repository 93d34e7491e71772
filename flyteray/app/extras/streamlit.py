"""A Streamlit script or function is served as an app."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from flyteray.app.command import split_words
from flyteray.app.environment import AppEnvironment
from flyteray.app.extras import _streamlit
from flyteray.storage.pickler import alias_main

_OPTIONS = {
    "server.address": "$HOST",
    "server.port": "$PORT",
    "server.headless": "true",
    "server.fileWatcherType": "none",  # the code of a version never changes
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": "localhost",  # else it asks the internet for its own address
}


@dataclass(eq=False, repr=False, kw_only=True)
class StreamlitAppEnvironment(AppEnvironment):
    """An :class:`AppEnvironment` whose replicas run Streamlit.

    Streamlit has to be installed where it runs. A browser stays on its replica, which keeps what the visitor has done;
    that is lost when another version takes over. Streamlit's usage statistics are off unless ``args`` turns them
    on. Beyond Flyte.

    Args:
        script: The page: a file beside the one that declares the app, or a function without arguments, which
            Streamlit calls whenever it would run a script again. A script is shipped as it is; name the modules and
            pages that only it imports in ``include``. Around a function nothing has to be named.
        args: Options of ``streamlit run``, such as ``--theme.base=dark``, and after ``--`` arguments of the script.

    Raises:
        TypeError: ``script`` is neither.
        ValueError: A command, or a function that can't be found again by its name.
    """

    _sticky: ClassVar[bool] = True

    script: str | Callable[[], Any] = "app.py"
    type: str | None = "Streamlit"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.command:
            raise ValueError(f"{self._words()} makes its own command: give options in args.")
        if isinstance(self.script, (str, Path)):
            self.script = str(self.script)
            if os.path.isabs(self.script) and self._declaring_file is not None:  # it is shipped beside that
                self.script = os.path.relpath(self.script, os.path.dirname(self._declaring_file))
            if self.script not in self.include:
                self.include = (self.script, *self.include)
        elif not callable(self.script):
            raise TypeError(
                f"{self._words()}: script must be the path of a file or a function, got {self.script!r}."
            )

    @property
    def kind(self) -> Literal["asgi", "function", "command"]:
        """The host of a replica: Streamlit's own server, or the server function where there is one."""
        return "command" if self._server is None else "function"

    def words(self) -> list[str]:
        """The command that serves the page."""
        page = self._place(self.script) if isinstance(self.script, str) else _name(self._words(), self.script)
        return [
            *("python", "-m", _streamlit.__name__, page),
            *(f"--{name}={value}" for name, value in _OPTIONS.items()),
            *split_words(self._words(), self.args),
        ]

    def _place(self, script: str) -> str:
        """Where the script is in the bundle: beside the module that declares the app."""
        alias_main()
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if name != "__main__" and file is not None and os.path.abspath(file) == self._declaring_file:
                folder = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
                return os.path.normpath(Path(*folder.split("."), script))
        return script


def _name(owner: str, function: Callable[..., Any]) -> str:
    """``module:function``, as another process finds the function; ValueError where it does not."""
    module = function.__module__
    if module == "__main__":
        module = alias_main() or module
    found = getattr(sys.modules.get(module), function.__qualname__, None)
    if found is not function or module == "__main__":
        raise ValueError(
            f"{owner}: Streamlit runs in a process of its own, which has to find the function "
            f"{function.__qualname__!r} by its name: define it at the top level of a .py file."
        )
    return f"{module}:{function.__qualname__}"
