"""A sample script that stays, and answers one question after the other: one process, one connection to its cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.nodes import Node  # which workers need not import, for whom this is a part of a script

_STAYS = "-"


def answer(told: Callable[..., Any]) -> None:
    """Print what a script tells of the words that it was started with, or of those of each line that it reads.

    Whatever else it prints goes to stderr.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    asked = map(json.loads, sys.stdin) if sys.argv[1:] == [_STAYS] else [sys.argv[1:]]
    for words in asked:
        print(json.dumps(told(*words)), file=answers)


class Console:
    """Such a script on a node, which ends with that."""

    def __init__(self, node: Node, script: Path, environment: Mapping[str, str]) -> None:
        self._name = node.name
        command = (sys.executable, str(script), _STAYS)
        self._process = node.popen(*command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def asked(self, *words: str) -> Any:
        """What the script tells; it is an error where that ends instead, and has said why on stderr."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(words), file=self._process.stdin, flush=True)
        told = self._process.stdout.readline()
        assert told, f"{self._name}: the script has ended at {words}"
        return json.loads(told)

    def end(self) -> None:
        """End the script, which may wait for a cluster that is away."""
        if self._process.poll() is None:
            pid = self._process.pid  # of what entered the node: its child is the script
            for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
        self._process.wait(timeout=10)
