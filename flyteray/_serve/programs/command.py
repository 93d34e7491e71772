"""A program is the server of an app: any program that answers HTTP on a port."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from flyteray._machine.health import AskHealth
from flyteray._plan.bundle import alias, bundle
from flyteray._serve.programs import command_line
from flyteray._serve.programs.program import Exit, Program, explain_failure
from flyteray._serve.servers import sockets
from flyteray._serve.servers.sockets import Address
from flyteray.errors import RuntimeUserError

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_ASK_AGAIN_S = 0.5  # when it has answered that it is not ready: it may log each question
_LOOK_S = 0.5  # between two looks at where it listens, which cost more than a probe
_GIVE_UP_S = 3.0  # for a program to end that did not come up in time, or had requests open to the deadline


@dataclass(eq=False, repr=False)
class CommandServer:
    """Runs a command until it ends; it is ready when what listens on its port says that it is well.

    The command sees the environment variables of this process, with the port in ``PORT`` and in the variables that
    frameworks ask for theirs. Where its words name the declared port they are given the replica's. A program that
    listens on the declared port all the same, or on all interfaces, is taken as it is, and that is logged; in the first
    case :attr:`port` is that one. Where only the ingress connects to it, a connection that is open is a request: the
    program is not asked to end before the last of them has been answered.
    """

    command: Sequence[str]  # $NAME in it is an environment variable, but in a shell's script
    chosen: Mapping[str, str]  # environment variables that the user has chosen
    folder: Path  # its working directory
    _: KW_ONLY
    declared: int  # the port in the app's declaration
    host: str
    port: int
    ask: AskHealth
    behind_ingress: bool = False
    python: Path | None = None  # whose packages it finds; default: this process's

    def __post_init__(self) -> None:
        self._assigned = Address(self.host, self.port)
        self._program: Program | None = None
        self._is_up = False
        self._stopping = False
        self._declined = False
        self._seen = ""

    loop = None  # the one that runs it

    async def run(self, ready: Callable[[], None]) -> None:
        """Start the program, wait for its port, and for its end."""
        if self._stopping:
            return
        self._program = program = self._start()
        ended = program.ended()
        try:
            if await self._comes_up(program, ended):
                self._is_up = True
                ready()
                await asyncio.to_thread(self._tell_of_strays, program)
            await asyncio.wait([ended])
        finally:
            if program.running:
                program.end(_GIVE_UP_S)
                await asyncio.wait([ended])
        if not self._stopping:
            raise RuntimeUserError("ServerExited", f"{self._name} {ended.result()}.")

    async def stop(self, deadline_s: float) -> None:
        """Ask the program to end (SIGTERM), and kill what is left of it at the deadline.

        Behind an ingress it is asked once no request is open; at the deadline it is given a few seconds all the same.
        """
        self._stopping = True
        program = self._program
        if program is None:
            return
        deadline = time.monotonic() + deadline_s
        if self.behind_ingress and self._is_up:
            await sockets.drain(self.port, deadline_s, program.ended())
        program.end(max(min(_GIVE_UP_S, deadline_s), deadline - time.monotonic()))
        await asyncio.wait([program.ended()])

    def going_on(self) -> list[Any]:
        """Nothing: only the ingress sees a program's requests."""
        return []

    def waits_for(self) -> str:
        """Say which answer is expected, and what there is instead."""
        seen = self._seen or "does not listen on any port"
        return f"the program {self.command[0]!r} {seen}; expected is an answer on port {self._wanted}"

    @property
    def _name(self) -> str:
        return f"The program {self.command[0]!r}"

    @property
    def _wanted(self) -> str:
        here = "" if self.port == self.declared else f"here {self.port}, "
        return f"{self.declared} ({here}which is in $PORT)"

    def _start(self) -> Program:
        variables = command_line.variables(os.environ, self.chosen, self.host, self.port)
        beside = (self.python or Path(sys.executable)).parent
        if self.python is not None:
            variables["VIRTUAL_ENV"] = str(beside.parent)
        paths = [str(beside), variables.get("PATH", os.defpath)]
        found_on = os.pathsep.join(paths)  # programs of the app's packages come first
        if "PATH" not in self.chosen:
            variables["PATH"] = found_on
        # Where the app's module came from, its own process may have to find others too.
        paths = [*alias.paths(), str(self.folder), *bundle.paths(), variables.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
        variables.setdefault("PYTHONUNBUFFERED", "1")  # its last words are to be in the log
        name, *rest = self._words(variables)
        if "PATH" in self.chosen:
            name = shutil.which(name, path=found_on) or name
        return Program([name, *rest], variables, self.folder)

    def _words(self, variables: Mapping[str, str]) -> Sequence[str]:
        if command_line.is_script(self.command):
            return self.command
        filled = command_line.fill_in(self.command, variables)
        if command_line.names_port(self.command):
            return filled
        return command_line.move_port(filled, self.declared, self.host, self.port)

    async def _comes_up(self, program: Program, ended: asyncio.Future[Exit]) -> bool:
        """Wait until it answers; False when it was stopped before."""
        look_at = time.monotonic() + _LOOK_S
        while not await asyncio.to_thread(self._answers):
            await asyncio.wait([ended], timeout=_ASK_AGAIN_S if self._declined else _POLL_S)
            if ended.done():
                if self._stopping:
                    return False
                raise self._early_end(ended.result())
            if time.monotonic() >= look_at:
                await asyncio.to_thread(self._look, program)
                look_at = time.monotonic() + _LOOK_S
        return True

    def _early_end(self, ended: Exit) -> RuntimeUserError:
        if ended.error is not None:
            return RuntimeUserError("ProgramNotStarted", explain_failure(self.command[0], ended.error))
        hint = " It must stay in the foreground." if ended.code == 0 else ""
        return RuntimeUserError(
            "ServerExited", f"{self._name} {ended} before it answered on port {self._wanted}.{hint}"
        )

    def _answers(self) -> bool:
        health = self.ask(self.host, self.port)
        self._seen = health.seen or self._seen
        if health.answers:
            self._declined = not health.is_good
        return health.is_good

    def _look(self, program: Program) -> None:
        found = sockets.find_addresses(program.pid)
        port = sockets.find_port(found, self.host, (self._assigned.port, self.declared))
        if port is not None:
            self.port = port
        elif found:
            self._seen = f"listens on {sockets.join_addresses(found)}"

    def _tell_of_strays(self, program: Program) -> None:
        if wrong := sockets.describe_strays(sockets.find_addresses(program.pid), self._assigned, self.port):
            logger.warning("%s %s Let it take its address from $HOST and $PORT.", self._name, wrong)
