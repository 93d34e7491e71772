"""An app in local mode: a process that hosts it as a replica does, without Ray (``python -m flyteray._serve.local``).

It is told what to do by a :class:`LocalPlan` and says in its folder how that went; SIGTERM asks it to stop.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flyteray import _private
from flyteray._cluster.workers import scripts
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._cluster.workers.workplace import furnish
from flyteray._machine.shared_folder import SharedFolder
from flyteray._plan import failure
from flyteray._plan.bundle import bundle, code
from flyteray._plan.local import ERROR, NEWEST, READY, SECRETS, LocalPlan
from flyteray._plan.spec import OutputRef
from flyteray._plan.values.outputs import output_key, select
from flyteray._serve.own_log import OwnLog
from flyteray._serve.parameters.follow import Follower
from flyteray._serve.parameters.parameters import Parameters, Resolver, named_run
from flyteray._serve.programs.program_image import loaded
from flyteray._serve.servers import ports
from flyteray._serve.servers.hosting import Hosting
from flyteray._serve.servers.servers import loop_for, server_for
from flyteray._serve.start_up import CODE, SERVER, StartUp
from flyteray.storage import open_storage
from flyteray.storage.values import read_value

_LOOK_S = 0.1  # how often newer outputs are looked for


class LocalReplica:
    """Hosts an app until it is told to stop or the app ends."""

    def __init__(self, plan: LocalPlan) -> None:
        self._plan = plan
        self._folder = Path(plan.folder)
        self._start_up = StartUp(plan.app.startup_timeout_s)
        self._log = OwnLog()
        self._parameters: Parameters | None = None
        self._follower: Follower | None = None
        self._storages = dict(plan.outputs)
        told = json.loads(os.environ.pop(SECRETS, "{}"))
        values = {name: base64.b64decode(value) for name, value in told.items()}
        self._secrets = ProcessSecrets(plan.app.environment.secrets, lambda _: values)

    async def run(self) -> None:
        """Start the app, say so, and return when it was asked to stop and has; raises what made it fail."""
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        failed: asyncio.Future[Any] = loop.create_future()
        loop.add_signal_handler(signal.SIGTERM, stopping.set)
        starting: asyncio.Future[Any] = asyncio.ensure_future(
            self._start(lambda error: loop.call_soon_threadsafe(failed.set_result, error))
        )
        asked: asyncio.Future[Any] = asyncio.ensure_future(stopping.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            self.close()
            os._exit(1)  # on_startup can't be interrupted; what it began to use ends with the process
        hosting = starting.result()
        (self._folder / READY).touch()
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result() or RuntimeError("The app's server has ended by itself.")
        if self._follower is not None:
            await asyncio.to_thread(self._follower.stop)
        await hosting.stop(self._plan.drain_s)

    def close(self) -> None:
        """Take away what was put outside the folder."""
        self._secrets.withdraw()
        if self._parameters is not None:
            self._parameters.release()

    def report(self, error: Exception) -> None:
        """Say what made it fail, with the end of the app's own log."""
        described = failure.describe(error).model_copy(update={"log": self._log.tail()})
        fresh = self._folder / f"{ERROR}.new"
        _private.write(fresh, described.model_dump_json())
        fresh.replace(self._folder / ERROR)

    async def _start(self, on_exit: Any) -> Hosting:
        plan = self._plan
        self._secrets.deliver()  # first of all: the user's module may look for them
        sock = ports.listening_socket(plan.host, plan.port)
        step = self._start_up.step
        python = Path(plan.python) if plan.python else None
        app = await step(CODE, lambda: self._load(python))
        given = {name: Path(file) for name, file in plan.given.items()}
        resolver = Resolver(self._folder, plan.app.name, self._read_output, self._newest, given)
        parameters = await step(resolver.waits_for, lambda: resolver.all(plan.app.parameters))
        self._parameters = parameters
        parameters.publish(self._folder)
        server = await step(
            SERVER, lambda: server_for(plan.app, app, parameters, sock, behind_ingress=False, python=python)
        )
        hosting = Hosting(
            server,
            arguments=parameters.arguments,
            on_startup=getattr(app, "_on_startup", None),
            on_shutdown=getattr(app, "_on_shutdown", None),
            on_exit=on_exit,
            loop=loop_for(plan.app, app),
            start_up=self._start_up,
        )
        await hosting.start()
        on_update = getattr(app, "_on_update", None)
        self._follower = Follower(
            plan.app.parameters,
            parameters,
            resolver,
            self._folder,
            newer=self._newer,
            update=lambda arguments: hosting.update(on_update, arguments) if on_update else None,
        )
        self._follower.start()
        return hosting

    def _load(self, python: Path | None) -> Any:
        ref = self._plan.app.code
        shipped = None
        if ref.bundle:
            shipped = bundle.activate(ref.bundle, Path(self._plan.bundle).read_bytes, bundle.cache_folder())
            furnish(self._folder, shipped)
        os.chdir(self._folder)
        scripts.prepare(ref.module, shipped)
        return loaded(self._plan.app, python, lambda: code.load(ref, shipped))

    def _read_output(self, ref: OutputRef) -> Any:
        run = named_run(ref)
        outputs = tuple(read_value(open_storage(self._storages[run]), output_key(run)))
        return select(outputs, ref.getter, run)

    def _newest(self, ref: OutputRef) -> str:
        """The run that is named, or the newest of a task that is followed."""
        if ref.run_name is not None:
            return ref.run_name
        run: str
        run, storage = json.loads(Path(self._plan.shared, NEWEST).read_bytes())[ref.digest()]
        self._storages[run] = storage
        return run

    def _newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        """The newest runs, as soon as one of them is another than that seen."""
        deadline = time.monotonic() + timeout_s
        while (found := [self._newest(ref) for ref in refs]) == list(seen) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return found


def main() -> None:
    """Run the plan in the file that is the argument; the exit code tells how it went."""
    plan = LocalPlan.model_validate_json(Path(sys.argv[1]).read_text())
    shared = SharedFolder(Path(plan.shared))
    replica = LocalReplica(plan)
    try:
        asyncio.run(replica.run())
    except Exception as error:  # noqa: BLE001  # user code: whatever it raises is what the caller is told
        replica.report(error)
        sys.exit(1)
    finally:
        replica.close()
        shared.leave()


if __name__ == "__main__":
    main()
