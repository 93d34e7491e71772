"""A process of local mode hosts an app as a replica does, without Ray: ``python -m flyteray._serve.local_replica``.

It follows a :class:`LocalPlan` and writes to its folder how that went; SIGTERM asks it to stop.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flyteray import _private
from flyteray._cluster.workers.secrets import ProcessSecrets
from flyteray._machine.shared_folder import SharedFolder
from flyteray._plan.bundle import bundle
from flyteray._plan.spec import LocalPlan, OutputRef
from flyteray._plan.values.outputs import output_key, select
from flyteray._serve.hosted_app import HostedApp
from flyteray._serve.parameters.parameters import Outputs, named_run
from flyteray._serve.servers import ports
from flyteray._traces.asked import are_asked, variables_in
from flyteray._traces.process import tracing
from flyteray.storage import open_storage
from flyteray.storage.values import read_value

_LOOK_S = 0.1  # how often newer outputs are looked for


class LocalReplica:
    """Hosts an app until it is told to stop or the app ends."""

    def __init__(self, plan: LocalPlan) -> None:
        self._plan = plan
        self._folder = Path(plan.folder)
        told = json.loads(os.environ.pop(LocalPlan.SECRETS, "{}"))
        values = {name: base64.b64decode(value) for name, value in told.items()}
        self.app = HostedApp(
            plan.app,
            self._folder,
            ProcessSecrets(plan.app.environment.secrets, lambda _: values),
            PlannedOutputs(plan),
            {name: Path(file) for name, file in plan.given.items()},
        )

    async def run(self) -> None:
        """Start the app, say so, and return when it was asked to stop and has; raises the error that it failed with."""
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
            self.app.release()
            os._exit(1)  # on_startup can't be interrupted
        starting.result()
        _private.write(self._folder / LocalPlan.READY, "")
        await asyncio.wait({asked, failed}, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            raise failed.result() or RuntimeError("The app's server has ended by itself.")
        await self.app.stop(self._plan.drain_s)

    async def _start(self, on_exit: Callable[[BaseException | None], object]) -> None:
        plan, asked = self._plan, variables_in(os.environ)
        await self.app.deliver_secrets()
        if are_asked(asked):
            tracing().lend(asked)
        sock = ports.listening_socket(plan.host, plan.port)
        python = Path(plan.python) if plan.python else None
        await self.app.start(sock, self._activate, lambda: python, behind_ingress=False, on_exit=on_exit)
        self.app.follow()

    def _activate(self, digest: str) -> Path | None:
        if not digest:
            return None
        return bundle.activate(digest, Path(self._plan.bundle).read_bytes, bundle.cache_folder())


class PlannedOutputs(Outputs):
    """Outputs of local runs, in the storages that a plan or the process beside this one names."""

    def __init__(self, plan: LocalPlan) -> None:
        self._shared = Path(plan.shared)
        self._storages = dict(plan.outputs)

    def read(self, ref: OutputRef) -> Any:
        run = named_run(ref)
        outputs = tuple(read_value(open_storage(self._storages[run]), output_key(run)))
        return select(outputs, ref.getter, run)

    def locate(self, ref: OutputRef) -> str:
        if ref.run_name is not None:
            return ref.run_name
        run: str
        run, storage = json.loads(Path(self._shared, LocalPlan.NEWEST).read_bytes())[ref.digest()]
        self._storages[run] = storage
        return run

    def newer(self, refs: Sequence[OutputRef], seen: Sequence[str], timeout_s: float) -> list[str]:
        deadline = time.monotonic() + timeout_s
        while (found := [self.locate(ref) for ref in refs]) == list(seen) and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return found


def main() -> None:
    """Run the plan in the file that is the argument; the exit code is 0 or 1."""
    plan = LocalPlan.model_validate_json(Path(sys.argv[1]).read_text())
    shared = SharedFolder(Path(plan.shared))
    replica = LocalReplica(plan)
    try:
        asyncio.run(replica.run())
    except Exception as error:  # noqa: BLE001  # user code: whatever it raises is what the caller is told
        _private.replace(Path(plan.folder) / LocalPlan.ERROR, replica.app.failure(error).model_dump_json())
        sys.exit(1)
    finally:
        replica.app.release()
        shared.leave()


if __name__ == "__main__":
    main()
