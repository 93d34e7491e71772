"""A spare is a process that has imported what a replica of its kind imports, and waits to be one."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import shutil
import threading
import time
from concurrent.futures import Future
from pathlib import Path

import ray

from flyteray._cluster.workers import launch, secrets
from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._machine.file_lock import FileLock
from flyteray._machine.threads import in_thread
from flyteray._plan.bundle import bundle
from flyteray._plan.spares import BLANK
from flyteray._serve.hosted_app import LOOPBACK, HostedApp
from flyteray._serve.servers import ports
from flyteray._serve.spares import start, wanted
from flyteray._serve.spares.slots import Slots, Told
from flyteray._serve.surroundings import PORT, ClusterOutputs, new_folder, python_of, settle

logger = logging.getLogger(__name__)

_LOOK_S = 2.0  # from one look whether it is still wanted to the next

# What replicas import beside what is imported to get here.
_MODULES = (
    "fastapi",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "flyteray.app.extras",
    "flyteray._serve.ray_serve.replica_actor",
    "flyteray._serve.replica",
)


class Spare:
    """A spare of a kind. It asks nobody anything: Ray ends a process that calls an actor before it is given a task.

    Attributes:
        folder: The working folder that its replica has.
        socket, claim: The port that its replica has; see :func:`ports.claimed_socket`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._slots = Slots(kind)
        self._slot: FileLock | None = None
        self._loaded: Future[bool] = Future()
        self._threads: str | None = None
        self._giving = threading.Lock()
        self._is_taken = False
        self.folder: Path = new_folder()
        self.socket, self.claim = ports.claimed_socket(LOOPBACK)

    def begin(self) -> None:
        """Import what its replica will, the app's code in a thread of its own; returns before that has ended."""
        self._slot = self._slots.take()
        if self._slot is None:
            self._end()  # others were sooner
        for module in _MODULES:
            importlib.import_module(module)
        told = None if self._kind == BLANK else self._slots.told()
        if told is None or told.spec.environment.secrets:  # the code may want the newest
            self._loaded.set_result(False)
        else:
            self._loaded, _ = in_thread(lambda: self._load(told), "flyteray-spare")
        threading.Thread(target=self._watch, name="flyteray-spare-watch", daemon=True).start()

    def take(self) -> Path:
        """Become a replica, whose folder this returns; it does not end by itself, and leaves its slot to the next."""
        with self._giving:
            self._is_taken = True
            if self._slot is not None:
                self._slot.close()
        return self.folder

    def has_loaded(self) -> bool:
        """Whether the app's code is there, with its variables; waits as long as it is being loaded."""
        loaded = self._loaded.result()
        if loaded:
            launch.tell_threads(self._threads)  # Ray has had a word of its own when it gave the process away
        return loaded

    def _load(self, told: Told) -> bool:
        policy = asyncio.get_event_loop_policy()
        try:
            os.environ[PORT] = str(self.socket.getsockname()[1])
            settle(told.spec.environment.env_vars)
            os.environ.update({**dict(told.traces), **os.environ, ENDPOINT_PATTERN: told.endpoint_pattern})
            app = HostedApp(told.spec, self.folder, secrets.of_worker(()), ClusterOutputs())
            asyncio.run(app.load_code(_activate, python_of(told.spec)))
            self._threads = os.environ.get(launch.OMP)
        except Exception:
            # The next replica is to say why, which it can.
            logger.warning("A spare process could not load the app's code.", exc_info=True)
            self._end()
            return False
        finally:
            asyncio.set_event_loop_policy(policy)  # Ray makes the replica's own loop by it
        return True

    def _watch(self) -> None:
        while not self._is_given():
            if self._kind != BLANK and not wanted.is_wanted(self._kind):
                self._slots.forget()
                self._end()
            if start.memory_is_short():
                self._end()
            time.sleep(_LOOK_S)
        self.take()

    def _is_given(self) -> bool:
        """Whether Ray has given this process to anybody: to a replica, or to a task that the app's code has started."""
        return self._is_taken or not ray._private.worker.global_worker.current_job_id.is_nil()

    def _end(self) -> None:
        """End this process, unless it is given to somebody by now."""
        with self._giving:
            if not self._is_given():
                shutil.rmtree(self.folder, ignore_errors=True)
                os._exit(0)


def _activate(digest: str) -> Path | None:
    """Make a bundle importable that a replica on this machine has fetched."""
    return bundle.activate(digest, _is_gone, bundle.cache_folder()) if digest else None


def _is_gone() -> bytes:
    raise FileNotFoundError("The app's code is not on this machine any more.")
