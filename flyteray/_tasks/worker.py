"""A Ray worker becomes a host: its command starts Python with Ray's script on a thread of its own."""

from __future__ import annotations

import _thread
import contextlib
import functools
import os
import shlex
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import ray
import ray._private.async_compat
import ray._private.utils
import ray._private.worker
import ray._raylet

from flyteray._cluster.workers.code import activate
from flyteray._tasks.host import Host, own_host
from flyteray._tasks.waits import core_worker
from flyteray.errors import BaseRuntimeError

T = TypeVar("T")

BUNDLE = "FLYTERAY_BUNDLE"
"""The environment variable with the bundle whose code a worker runs."""

_ENTRY = f"from {__name__} import main; main()"


def host_command(python: str) -> str:
    """The command, for ``py_executable``, that starts a Ray worker as a :class:`Host` by a command that runs Python."""
    return f"{python} -c {shlex.quote(_ENTRY)}"


def main() -> None:
    """Be the Ray worker whose script and command line this process was given."""
    script, sys.argv = sys.argv[1], sys.argv[1:]
    with contextlib.suppress(ValueError):
        sys.path.remove("")  # of python -c
    _take_over(own_host(), script)


def _take_over(host: Host, script: str) -> None:
    """Be a Ray worker: run Ray's ``script`` on a thread of its own, and be the user's on this, the main one."""
    _thread.interrupt_main = functools.partial(host.interrupt, _thread.interrupt_main)
    ray._raylet.CoreWorker = core_worker(host.waits)
    ray._private.async_compat.try_install_uvloop = lambda: None  # the user's loops are Python's
    ray._private.utils.set_sigterm_handler = lambda _: None  # for main threads only
    manager = ray._private.worker.global_worker.function_actor_manager
    prepared = functools.cache(_prepare)  # on the user's thread, before the first of the user's code

    def loading(load: Callable[..., T]) -> Callable[..., T]:
        def call(*args: Any) -> T:
            if threading.get_ident() != host.ray_thread or host.waits.are_shared:
                return load(*args)
            with _let_go(manager.lock):
                host.run(prepared)
                return host.run(load, *args)

        return call

    load_function = loading(manager.get_execution_info)

    @functools.cache
    def execution_info(*args: Any) -> Any:
        info = load_function(*args)
        return info._replace(function=host.adopt(info.function))

    manager.get_execution_info = execution_info
    manager.load_actor_class = loading(manager.load_actor_class)
    threading.Thread(target=_be_ray, args=(host, script), name="flyteray-ray", daemon=True).start()
    host.serve()


def _prepare() -> None:
    """Have the user's code be there. Where that fails the action to come says so: Ray would end the worker for it."""
    with contextlib.suppress(BaseRuntimeError):
        activate(os.environ.get(BUNDLE, ""))


def _be_ray(host: Host, script: str) -> None:
    host.ray_thread = threading.get_ident()
    try:
        with open(script) as source:
            exec(compile(source.read(), script, "exec"), {"__name__": "__main__", "__file__": script})
    except SystemExit:
        pass
    except BaseException:  # noqa: BLE001  # the process is of no use then
        traceback.print_exc()
        os._exit(1)
    finally:
        host.close()


@contextlib.contextmanager
def _let_go(lock: Any) -> Iterator[None]:
    """Leave a lock that this thread may hold to others, as a condition does while it waits.

    Ray holds its own while it unpacks an argument, and takes it again to load the class of an actor that is in there.
    """
    if not lock._is_owned():
        yield
        return
    held = lock._release_save()
    try:
        yield
    finally:
        lock._acquire_restore(held)
