"""A PostgreSQL server of the tests' own, from Debian's packages, in a folder and on a free port of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg

from tests.waiting import eventually

USER, PASSWORD = "flyteray", "hunter2"


def missing() -> str | None:
    """Why no server can be started here; None: it can."""
    if _program("initdb") is None:
        return "no PostgreSQL: apt-get install postgresql"
    if os.geteuid() == 0 and _somebody() is None:
        return "PostgreSQL refuses to run as root, and there is no user 'postgres' or 'nobody'"
    return None


@contextlib.contextmanager
def a_server() -> Iterator[Server]:
    """A server that runs; nothing of it remains afterwards."""
    # Not in pytest's folder for temporary files, which is our own user's alone.
    folder = Path(tempfile.mkdtemp(prefix="flyteray-postgresql-"))
    folder.chmod(0o711)
    server = Server(folder / "data")
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


class Server:
    """A server whose data is in a folder, which must not be there yet; ended at once, it loses nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        user = _somebody()
        self._as: dict[str, Any] = {"cwd": "/"}
        folder.mkdir()
        if user is not None:  # root
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._as |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def url(self, database: str) -> str:
        """The URL of a database; the server believes anybody, but it has a password that nobody should see."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def create(self) -> str:
        """A new database."""
        name = f"flyteray_{uuid4().hex[:12]}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        """End a database and all connections to it."""
        self.execute(f"DROP DATABASE {database} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Have a statement executed, beside all that goes on."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement.encode())

    def start(self) -> None:
        """Start it; returns when it answers."""
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "16MB",
            "fsync": "off",
            "autovacuum": "off",
        }
        told = [f"-c{name}={value}" for name, value in settings.items()]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_program("postgres") or "", "-D", str(self._folder), *told],
                stderr=log,
                stdout=log,
                **self._as,
            )
        eventually(self._answers)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Have it not be there for a while, and all connections to it end."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Have it answer nobody for a while, though the kernel takes what is sent to it."""
        for process in self._processes():
            process.suspend()
        try:
            yield
        finally:
            for process in self._processes():
                process.resume()

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        leader = psutil.Process(self._process.pid)
        return [leader, *leader.children(recursive=True)]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "server.log").read_text()
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        command = [_program(program) or "", "-D", str(self._folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._as)
        assert done.returncode == 0, done.stdout + done.stderr


def _program(name: str) -> str | None:
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *os.environ.get("PATH", os.defpath).split(os.pathsep),
    ]
    return shutil.which(name, path=os.pathsep.join(map(str, folders)))


def _somebody() -> pwd.struct_passwd | None:
    """Whom it runs as where we are root."""
    there = {user.pw_name: user for user in pwd.getpwall()}
    return None if os.geteuid() != 0 else there.get("postgres") or there.get("nobody")
