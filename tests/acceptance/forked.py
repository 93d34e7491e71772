"""The `flyteray` command, forked from a process that has imported what its verbs import.

A request is a line of JSON on stdin, the command's exit code is the line that answers it. Each command is a process
of its own with the environment, the folder and the files that the request names; it is spared a second of imports.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from typing import Any


def requested() -> dict[str, Any]:
    """Fork for each request; returns in the process that shall be the command."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return dict(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    sys.exit()


def become(request: dict[str, Any]) -> None:
    """Be the process that a shell would have started."""
    for descriptor, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
        os.dup2(os.open(path, os.O_RDONLY if descriptor == 0 else os.O_WRONLY), descriptor)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["flyteray", *request["arguments"]]
    signal.alarm(request["timeout_s"])


if __name__ == "__main__":
    sys.path[0] = ""  # as that of the command: the folder it is in
    for verb in ("deploy", "get", "run", "serve", "status", "up", "update"):
        importlib.import_module(f"flyteray.cli.verbs.{verb}")
    for connecting in ("flyteray._cluster.connection", "flyteray._control.actors"):
        importlib.import_module(connecting)
    become(requested())
    importlib.import_module("flyteray.cli").main()
