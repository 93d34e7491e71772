"""A worker executes an action: it loads the code, binds the context, runs the user's function, gives the result."""

from __future__ import annotations

import contextvars
import functools
import importlib.util
import os
import socket
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import ray

from flyteray._actors.controller import controller
from flyteray._actors.questions import ask
from flyteray._cluster import nodes
from flyteray._cluster.workers import launch
from flyteray._cluster.workers import secrets as process_secrets
from flyteray._cluster.workers.code import Workplace, activate, load_code
from flyteray._declare import context
from flyteray._declare.tasks.task import Task
from flyteray._declare.this_cluster import ENDPOINT_PATTERN
from flyteray._plan import failure
from flyteray._plan.bundle import pickles
from flyteray._plan.info import ActionPhase
from flyteray._plan.reports import KeptReport
from flyteray._plan.spec import CodeRef, SecretSpec
from flyteray._plan.values import inputs, pickling
from flyteray._plan.values.outputs import as_outputs, exits_well
from flyteray._plan.values.pickling import Own, Payload
from flyteray._report.report import unseen
from flyteray._tasks.call import ActionFailed, Call, SecretName
from flyteray._tasks.children import Children
from flyteray._tasks.events import Recorder
from flyteray._tasks.forks import ForkExit
from flyteray._tasks.host import host
from flyteray._tasks.logs import LogKeeper
from flyteray._tasks.outputs import write_outputs
from flyteray._tasks.submission import Submitter
from flyteray.storage import open_storage


class Worker:
    """A worker process between its actions, which are all of one environment and one bundle."""

    def __init__(self, env_vars: tuple[tuple[str, str], ...], secrets: tuple[SecretName, ...]) -> None:
        self._find_ingress()
        ask(controller().storage.prove(ray.get_runtime_context().get_node_id()))
        os.environ["FLYTERAY_STORAGE"] = self.cluster.storage  # for the processes that the user's code starts
        asked = [
            SecretSpec(key=key, group=group, env_var=variable, mount=mount)
            for key, group, variable, mount in secrets
        ]
        wins = {secret.env_var for secret in asked}
        self._env_vars = {name: value for name, value in env_vars if name not in wins}
        self._secrets = process_secrets.of_worker(asked)
        self.recorder = Recorder()
        self._logs = LogKeeper(self.cluster.storage)

    def _find_ingress(self) -> None:
        self.cluster = ask(controller().info(nodes.own_address()))
        os.environ[ENDPOINT_PATTERN] = self.cluster.pattern_for_code

    def _has_ingress(self) -> bool:
        """Whether this machine has its ingress still: while nothing runs here it may leave."""
        near = urlsplit(self.cluster.near_pattern or "")
        if near.hostname is None or near.port is None:
            return True
        try:
            socket.create_connection((near.hostname, near.port), _REACH_S).close()
        except OSError:
            return False
        return True

    def run(self, call: Call, arguments: Payload, finish: Callable[[Task[..., Any], Any], Any]) -> Any:
        """Run the user's function and give the result of ``finish`` for its task and value.

        Raises ActionFailed where the user's code could not be loaded, raised, or returned a value of a wrong type.
        """
        began = time.time()
        self.recorder.add(call, ActionPhase.RUNNING, began)
        self._logs.begin(call)
        report: KeptReport | None = None
        try:
            if not self._has_ingress():
                self._find_ingress()
            launch.settle(self._env_vars)
            self._secrets.deliver()
            workplace = _workplace(call.bundle)
            try:
                if workplace is not None:
                    workplace.enter()
                _be_script(call.module)
                task: Task[..., Any] = _load(call.bundle, call.module, call.name)
                _be_script(call.module)
                given = pickling.load(arguments)
                if call.unchecked:
                    given = inputs.bind(task, (), given)
                report = self._report(call, task)
                value = inputs.check_output(task, self._call_function(call, task, given, report))
                result = finish(task, value)
            finally:
                if workplace is not None:
                    workplace.tidy()
        except BaseException as error:  # noqa: BLE001  # whatever users raise travels as a value
            if host().is_cancelled:
                _end(report, ActionPhase.ABORTED)
                raise KeyboardInterrupt from None  # what Ray expects of a cancelled task
            info = failure.describe(error)
            _end(report, ActionPhase.FAILED, info.summary)
            self.recorder.add(call, ActionPhase.FAILED, began, info.summary)
            raise ActionFailed(info) from None
        else:
            _end(report, ActionPhase.SUCCEEDED)
        finally:
            self._logs.end()
        self.recorder.add(call, ActionPhase.SUCCEEDED, began)
        return result

    def _report(self, call: Call, task: Task[..., Any]) -> KeptReport | None:
        """The report of an attempt; None where its task makes none."""
        if not task.report:
            return None
        folder = f"{self.cluster.storage}/runs/{call.run}"
        return KeptReport(
            task.name, call.run, call.action, call.attempt + 1, functools.partial(open_storage, folder)
        )

    def _call_function(
        self, call: Call, task: Task[..., Any], arguments: dict[str, Any], report: KeptReport | None
    ) -> Any:
        bound = contextvars.copy_context()
        inherited = call.inherited
        root = inherited.raw_data_path or f"{self.cluster.storage}/runs"
        bound.run(context.runtime.set, Children(call, self.recorder, _submitter()))
        bound.run(context.custom.set, dict(inherited.custom_context))
        bound.run(
            context.task_context.set,
            context.TaskContext(
                action=context.ActionID(call.action, call.run, *call.owner),
                mode="remote",
                attempt_number=call.attempt,
                version=call.version,
                raw_data_path=context.RawDataPath(f"{root}/{call.run}/{call.action}/data"),
                report=report or unseen(),
            ),
        )
        function = functools.partial(task.func, **arguments)
        try:
            with ForkExit():
                return bound.run(host().drive, function) if task.is_async else bound.run(function)
        except SystemExit as error:
            if exits_well(task, error):
                return None
            raise


def _end(report: KeptReport | None, phase: ActionPhase, problem: str = "") -> None:
    if report is not None:
        report.end(phase, problem)


_worker = functools.cache(Worker)


def _be_script(name: str) -> None:
    """Make a module the script of its process: ``__main__``, and the one word of its command line."""
    module = sys.modules.get(name)
    sys.modules["__main__"] = _NO_SCRIPT if module is None else module
    sys.argv = [getattr(module, "__file__", None) or _file(name)]


@functools.cache
def _file(name: str) -> str:
    """The file of a module that is still to be imported: it may look at its command line already."""
    try:
        spec = importlib.util.find_spec(name) if name else None
    except (ImportError, ValueError, AttributeError):
        return name  # importing it says why
    return (spec.origin if spec else None) or name


_REACH_S = 1.0  # for the ingress of this machine to take a connection
_NO_SCRIPT = ModuleType("__main__")  # at a prompt there is none either


@functools.cache
def _workplace(bundle: str) -> Workplace | None:
    """The workplace of a bundle's actions; worked out once, not once per call."""
    code = activate(bundle)
    return None if code is None else Workplace(code)


@functools.lru_cache(maxsize=1024)
def _load(bundle: str, module: str, name: str) -> Any:
    """The task of a call: finding it looks at the disk, which is done once, not once per call."""
    return load_code(CodeRef(bundle=bundle, module=module, name=name))


@functools.cache
def _is_by_value(bundle: str) -> bool:
    """Whether a bundle holds tasks by value, and so maybe classes of what they return."""
    code = activate(bundle)
    return code is not None and (code / pickles.FILE).exists()


@functools.cache
def _submitter() -> Submitter:
    """The submitter of the children of this process's actions."""
    return Submitter(execute)


def execute(packed: bytes, buffers: Payload | None = None) -> Any:
    """Execute a child action: its value goes to the parent through Ray."""
    return host().run(_execute, packed, buffers)


def execute_root(packed: bytes, buffers: Payload | None = None) -> tuple[tuple[Any, ...] | Own, int]:
    """Execute the root action of a run: returns its outputs, and how many bytes of them are in storage."""
    return host().run(_execute_root, packed, buffers)


def _execute(packed: bytes, buffers: Payload | None) -> Any:
    call, arguments = Call.unpack(packed, buffers)
    value = _worker(call.env_vars, call.secrets).run(call, arguments, lambda _, value: value)
    return Own(value) if _is_by_value(call.bundle) else value


def _execute_root(packed: bytes, buffers: Payload | None) -> tuple[tuple[Any, ...] | Own, int]:
    call, arguments = Call.unpack(packed, buffers)
    worker = _worker(call.env_vars, call.secrets)

    def keep(task: Task[..., Any], value: Any) -> tuple[tuple[Any, ...], int]:
        outputs = as_outputs(task, value)
        return outputs, write_outputs(worker.cluster.storage, call.run, outputs)

    try:
        outputs, size = worker.run(call, arguments, keep)
    finally:
        worker.recorder.flush()
    return (Own(outputs) if _is_by_value(call.bundle) else outputs), size
